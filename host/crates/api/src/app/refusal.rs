//! Refusals in plain words: the sentence, and for each field that is to blame its value and what would be right.

use kernel::{CommandError, Occupancy, Sizing, SubscriberId};

use super::caller::Role;
use super::error::{AppError, Fault};
use crate::cluster::ClusterError;

/// The sentence for a refusal of the kernel; `resource` is the text of the span it is about.
pub(crate) fn sentence(error: &CommandError, resource: Option<&str>) -> String {
    let resource = resource.unwrap_or("the resource");
    match error {
        CommandError::Held { pool, by, .. } => {
            format!("{resource} of pool {pool} is held by another subscriber{}", named(by.as_ref()))
        }
        CommandError::ReservedForAnother { pool, by, .. } => {
            format!("{resource} of pool {pool} is reserved for another subscriber{}", named(by.as_ref()))
        }
        CommandError::RestingForAnother { pool, until_ms, .. } => {
            format!("{resource} of pool {pool} rests until {}", super::clock::rfc3339(*until_ms))
        }
        CommandError::HoldsAnother { pool, .. } => format!("the subscriber holds {resource} in pool {pool}"),
        CommandError::HoldsInOtherRealm { pool, .. } => {
            format!("the subscriber holds {resource} in pool {pool} in another realm")
        }
        CommandError::Superseded { pool, .. } => {
            format!("the subscriber holds {resource} in pool {pool} since, which is the one to renew")
        }
        CommandError::OutsidePool { pool, .. } => format!("{resource} is not in pool {pool}"),
        CommandError::Excluded { pool, .. } => format!("{resource} is excluded from pool {pool}"),
        CommandError::Misaligned { pool, .. } => format!("{resource} is not aligned in pool {pool}"),
        CommandError::NotReserved { pool, .. } => format!("{resource} of pool {pool} is not reserved"),
        CommandError::Exhausted { pool, occupancy, .. } => exhausted(pool.as_str(), occupancy),
        CommandError::SpansHeld { holders, .. } => {
            let shown: Vec<_> = holders.iter().take(5).map(|(_, subscriber)| subscriber.as_str()).collect();
            format!("{error}, held by {}", shown.join(", "))
        }
        CommandError::PoolUnknown { .. }
        | CommandError::PoolClosing { .. }
        | CommandError::PoolDiffers { .. }
        | CommandError::PoolOverlaps { .. }
        | CommandError::PoolInUse { .. }
        | CommandError::RevisionDiffers { .. }
        | CommandError::PoolFieldFixed { .. }
        | CommandError::PoolGeometry { .. }
        | CommandError::MustBeAsked { .. }
        | CommandError::LengthRefused { .. }
        | CommandError::RealmValueMissing { .. }
        | CommandError::TooManyRealms { .. }
        | CommandError::RealmValueInvalid { .. }
        | CommandError::NotHeld { .. }
        | CommandError::NoLease { .. }
        | CommandError::Crowded { .. }
        | CommandError::LedgerDecides
        | CommandError::Elsewhere { .. }
        | CommandError::Withheld { .. }
        | CommandError::Unconfirmed { .. }
        | CommandError::NoteUnknown { .. }
        | CommandError::NoteDiffers { .. }
        | CommandError::NotesFull { .. }
        | CommandError::NotesWithheld => error.to_string(),
    }
}

fn named(by: Option<&SubscriberId>) -> String {
    by.map_or(String::new(), |by| format!(", {by}"))
}

fn exhausted(pool: &str, occupancy: &Occupancy) -> String {
    let Occupancy { total, held, free, resting, reserved, excluded, .. } = occupancy;
    format!(
        "pool {pool} is exhausted: of {total} grains {held} are held, {free} free, {resting} in hold-down, \
         {reserved} reserved, {excluded} excluded"
    )
}

/// The fields an error is about, each with what would be right. Never empty for what the caller can mend.
pub fn faults(error: &AppError) -> Vec<Fault> {
    match error {
        AppError::Invalid(faults) | AppError::InvalidSpec { faults, .. } => faults.clone(),
        AppError::Malformed(why) => vec![Fault::new("body", why, "must be one JSON object")],
        AppError::TooLarge { limit } => vec![Fault::new("body", "", format!("must have at most {limit} bytes"))],
        AppError::TypeUnknown { type_id, known } => {
            vec![Fault::new("type", type_id, format!("must be one of {}", known.join(", ")))]
        }
        AppError::ResourceInvalid { resource, why, .. } => vec![Fault::new("resource", resource, why.clone())],
        AppError::ResourceOutside { pool, resource } => {
            vec![Fault::new("resource", resource, format!("must lie in pool {pool}"))]
        }
        AppError::HintInvalid { fault, .. } => vec![fault.clone()],
        AppError::PoolUnknown { pool } => {
            vec![Fault::new("pool_id", pool, "must name a pool; list them to see the names")]
        }
        AppError::IdsSwapped { pool, .. } => {
            vec![Fault::new("pool_id", pool, "looks like the subscriber id: pool_id and subscriber_id seem swapped")]
        }
        AppError::RealmAttributeMissing { missing, .. } => {
            vec![Fault::new(missing.clone(), "", "must be given: the pool's realm is made of it")]
        }
        AppError::NothingHeld { subscriber, .. } => {
            vec![Fault::new("subscriber_id", subscriber, "must hold an allocation; allocate one first")]
        }
        AppError::OnlyPermanent { subscriber } => {
            vec![Fault::new(
                "subscriber_id",
                subscriber,
                "must hold an allocation with a lease; permanent ones never end",
            )]
        }
        AppError::NoHolder { resource, .. } => vec![Fault::new("resource", resource, "must be held by somebody")],
        AppError::CursorInvalid { cursor } => {
            vec![Fault::new("cursor", cursor, "must be the next_cursor of an earlier page; leave it out to begin anew")]
        }
        AppError::Unauthenticated { why } => {
            vec![Fault::new("authorization", "", format!("must be a known bearer token: {why}"))]
        }
        AppError::Forbidden { role, needs } => vec![Fault::new("authorization", role.as_str(), at_least(*needs))],
        AppError::TenantForbidden { asked, fixed } => {
            vec![Fault::new("X-Nexus-Tenant", asked, format!("must be {fixed}, or be left out"))]
        }
        AppError::Refused { error, resource } => of_command(error, resource.as_deref()),
        AppError::ConflictUnknown { id } => {
            vec![Fault::new("id", id, "must be an open conflict's; list them, perhaps it is closed already")]
        }
        AppError::PluginUnknown { type_id } => vec![Fault::new("type", type_id, "must be the type of a loaded plugin")],
        AppError::PluginInUse { type_id, pools } => {
            vec![Fault::new("type", type_id, format!("must be used by no pool; delete {} first", pools.join(", ")))]
        }
        AppError::NoSuchPath { path } => vec![Fault::new("path", path, "must be one of those in /openapi.json")],
        AppError::MethodNotAllowed { method, allowed } => {
            vec![Fault::new("method", method, format!("must be one of {allowed}"))]
        }
        AppError::Cluster(ClusterError::Invalid { field, value, remedy }) => {
            vec![Fault::new(field.as_str(), value, remedy.as_str())]
        }
        AppError::Cluster(ClusterError::Refused(why)) => vec![Fault::new("cluster", "", why.as_str())],
        AppError::Cluster(ClusterError::Unavailable(_) | ClusterError::Unknown(_))
        | AppError::PluginUnavailable { .. }
        | AppError::Engine(_)
        | AppError::History { .. }
        | AppError::BackupRefused { .. }
        | AppError::Storage { .. } => Vec::new(),
    }
}

fn at_least(needs: Role) -> String {
    let enough: Vec<_> = Role::ALL.into_iter().filter(|role| *role >= needs).map(Role::as_str).collect();
    format!("must have role {}", enough.join(" or "))
}

/// What to do about a resource that another one stands in place of.
const SUPERSEDED: &str =
    "is what the subscriber is to use: renew it, and release the other one by name or confirm the conflict";

fn of_command(error: &CommandError, resource: Option<&str>) -> Vec<Fault> {
    let resource = resource.unwrap_or_default();
    let one = |field: &str, value: &dyn std::fmt::Display, remedy: String| vec![Fault::new(field, value, remedy)];
    match error {
        CommandError::PoolUnknown { pool } => one("pool_id", pool, "must name a pool".into()),
        CommandError::PoolClosing { pool } => {
            one("pool_id", pool, "must not be under deletion; wait for its end".into())
        }
        CommandError::PoolDiffers { pool, fields } => {
            let remedy = format!("must be a new id, or the pool must agree in {}; PUT changes it", fields.join(", "));
            one("id", pool, remedy)
        }
        CommandError::PoolOverlaps { other, realm, .. } => vec![overlaps(other.as_ref(), realm)],
        CommandError::PoolInUse { pool, allocations } => {
            let must = format!("must have no live allocations ({allocations} now); release them or use force");
            one("pool_id", pool, must)
        }
        CommandError::RevisionDiffers { found, expected, .. } => {
            one("revision", expected, format!("must be {found}: read the pool again"))
        }
        CommandError::PoolFieldFixed { field, found, wanted, .. } => vec![fixed(field, found, wanted)],
        CommandError::SpansHeld { count, .. } => {
            one("spec", &"", format!("must keep what is held: {count} resources; release their holders first"))
        }
        CommandError::PoolGeometry { why, .. } => one("spec", &"", format!("must be such that it can be cut: {why}")),
        CommandError::Exhausted { .. }
        | CommandError::Crowded { .. }
        | CommandError::LedgerDecides
        | CommandError::Elsewhere { .. }
        | CommandError::Withheld { .. }
        | CommandError::Unconfirmed { .. }
        | CommandError::NotesWithheld => Vec::new(),
        CommandError::NoteUnknown { .. } | CommandError::NoteDiffers { .. } | CommandError::NotesFull { .. } => {
            of_note(error).into_iter().collect()
        }
        CommandError::MustBeAsked { pool } => {
            one("resource", &"", format!("must be named: pool {pool} hands out only what is asked for"))
        }
        CommandError::Held { .. }
        | CommandError::ReservedForAnother { .. }
        | CommandError::RestingForAnother { .. } => {
            one("resource", &resource, "must be free; ask for another, or for none to get any".into())
        }
        CommandError::HoldsAnother { .. } => {
            one("resource", &resource, "is what the subscriber holds; ask for it, release it, or name a key".into())
        }
        CommandError::Superseded { .. } => one("resource", &resource, SUPERSEDED.into()),
        CommandError::HoldsInOtherRealm { .. } => {
            one("subscriber_id", &resource, "holds this in another realm; release it first, or name a key".into())
        }
        CommandError::OutsidePool { pool, .. } => one("resource", &resource, format!("must lie in pool {pool}")),
        CommandError::Excluded { pool, .. } => {
            one("resource", &resource, format!("must not be excluded from pool {pool} (exclusions, gateway, network)"))
        }
        CommandError::LengthRefused { len, sizing, .. } => one("resource", len, lengths(sizing)),
        CommandError::Misaligned { .. } => {
            one("resource", &resource, "must begin where the pool hands out resources of this size".into())
        }
        CommandError::RealmValueMissing { pool } => {
            one("attributes", &"", format!("must carry what pool {pool} makes its realm of"))
        }
        CommandError::TooManyRealms { limit, .. } => {
            one("attributes", &"", format!("must name one of the {limit} realms the pool serves already"))
        }
        CommandError::RealmValueInvalid { value, why, .. } => one("attributes", value, why.clone()),
        CommandError::NotHeld { pool } => one("subscriber_id", &"", format!("must hold an allocation in pool {pool}")),
        CommandError::NoLease { .. } => one("subscriber_id", &"", "must hold an allocation with a lease".into()),
        CommandError::NotReserved { .. } => {
            one("resource", &resource, "must be reserved; list the reservations".into())
        }
    }
}

fn overlaps(other: Option<&kernel::PoolId>, realm: &str) -> Fault {
    let other = other.map_or_else(|| "a pool of another tenant".to_owned(), |other| format!("pool {other}"));
    Fault::new("spec", "", format!("must not share a resource with {other} in realm {realm}; use another realm"))
}

/// `None` if it is about no note, or nothing the caller can mend.
fn of_note(error: &CommandError) -> Option<Fault> {
    if let CommandError::NoteUnknown { key } = error {
        return Some(Fault::new("key", key, "must name a note; list them to see the keys"));
    }
    if let CommandError::NoteDiffers { expected, found, .. } = error {
        let found = found.as_ref().map_or_else(|| "left out: there is no such note".to_owned(), ToString::to_string);
        return Some(Fault::new("version", expected, format!("must be {found}: read the note again")));
    }
    let full = matches!(error, CommandError::NotesFull { .. });
    full.then(|| Fault::new("key", "", "must be of a note that there is already; delete others first"))
}

/// What cannot change while a pool lives, and what to do instead. Lengths and places are what the plugin reads in the spec.
fn fixed(field: &str, found: &str, wanted: &str) -> Fault {
    match field {
        "sharding_factor" => Fault::new(field, wanted, format!("must stay {found}, or be left out")),
        "tenant" | "id" | "type" | "realm" | "shared" | "realm_by" => {
            let remedy = format!(
                "must stay {found}; for another make a second pool and let the subscribers move, or delete this one first"
            );
            Fault::new(field, wanted, remedy)
        }
        of_spec => {
            let remedy = format!(
                "must leave the {of_spec} at {found}: all but adding and removing resources needs a second pool, to which \
                 the subscribers move"
            );
            Fault::new("spec", format_args!("{of_spec} {wanted}"), remedy)
        }
    }
}

fn lengths(sizing: &Sizing) -> String {
    format!("must have {} to {} positions of the line, in the pool's steps", sizing.min_len, sizing.max_len)
}
