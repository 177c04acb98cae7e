//! The `OpenAPI` document, generated from the handlers and the bodies they read and write.

use std::sync::OnceLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::dto::problem::ProblemBody;
use super::{
    allocations, backup, cluster, conflicts, dto, health, leases, lists, nodes, notes, plugins, pools, reservations,
    resources, watch,
};

/// What any call may answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only for the document")]
pub(super) enum Problems {
    /// A field of the request is not usable: `errors` names each with its value and what would be right.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(ProblemBody),
    /// The caller is not known.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(ProblemBody),
    /// The caller's role or tenant does not allow it.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// The path takes other methods: the header `Allow` names them.
    #[response(status = 405, content_type = "application/problem+json")]
    MethodNotAllowed(ProblemBody),
    /// The body is longer than 1 MiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// It cannot be served now: the pool is exhausted, its plugin is unavailable, the disk is full, the daemon is busy or
    /// stopping, the host waits to join a cluster, or the hosts that must decide cannot be reached. `reason` says which; the same request may succeed later.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// What calls about something named may answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only for the document")]
pub(super) enum Unknown {
    /// There is no such pool, allocation, reservation, conflict, note or plugin.
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(ProblemBody),
}

/// What calls that change something may answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only for the document")]
pub(super) enum Conflicts {
    /// What is there stands in the way: the resource is held or reserved, the pool differs, overlaps or is in use, the
    /// state of the cluster does not allow it.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nexus",
        description = "Hands out network resources to broadband subscribers: durable, never twice.",
        license(name = "Apache-2.0 OR MIT")
    ),
    paths(
        health::health, health::ready,
        pools::list, pools::create, pools::get, pools::update, pools::delete, pools::stats,
        allocations::allocate, allocations::allocate_alias, allocations::batch, allocations::get_or_expiring,
        allocations::expiring, allocations::explain,
        lists::list, leases::release, leases::release_alias, leases::renew,
        resources::holders,
        reservations::list, reservations::list_of_pool, reservations::add, reservations::remove,
        conflicts::list, conflicts::confirm,
        nodes::list, nodes::allocations,
        notes::list, notes::get, notes::put, notes::delete,
        plugins::list, plugins::retire, plugins::resume,
        cluster::status, cluster::hashring, cluster::init, cluster::join, cluster::leave, cluster::promote,
        cluster::demote, cluster::drain, cluster::undrain, cluster::remove, cluster::move_shards,
        cluster::seize_shards, cluster::end_quarantine, backup::backup,
        watch::watch,
    ),
    components(schemas(dto::event::GapBody)),
    modifiers(&Tokens),
    security((), ("token" = []), ("tenant" = []), ("token" = [], "tenant" = [])),
    tags(
        (name = "allocations", description = "Who gets what"),
        (name = "pools", description = "What there is to hand out"),
        (name = "reservations", description = "Resources kept for named subscribers"),
        (name = "conflicts", description = "What hosts that could not reach each other left open"),
        (name = "resources", description = "Who holds, or held, a resource"),
        (name = "nodes", description = "Hosts and OLT-BNGs"),
        (name = "notes", description = "What operators write about OLTs, sites and tenants"),
        (name = "plugins", description = "Resource types"),
        (name = "cluster", description = "Hosts that own the pools together, and who owns which shard"),
        (name = "watch", description = "What happens"),
        (name = "health", description = "Liveness and readiness; never behind tokens")
    )
)]
struct Document;

/// Bearer tokens, where the daemon was given some; without, the header `X-Nexus-Tenant` names the tenant.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("token", SecurityScheme::Http(http));
            let tenant = ApiKeyValue::with_description(
                "X-Nexus-Tenant",
                "Whose pools are meant, where the token (if any) does not say so; `default` unless given",
            );
            components.add_security_scheme("tenant", SecurityScheme::ApiKey(ApiKey::Header(tenant)));
        }
    }
}

/// The document as JSON text, the same for every build of this version.
pub fn openapi() -> String {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let mut text = document.to_pretty_json().expect("the document holds nothing that JSON cannot");
    text.push('\n');
    text
}

pub(super) async fn serve() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let mut response = Response::new(axum::body::Body::from(TEXT.get_or_init(openapi).as_str()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
