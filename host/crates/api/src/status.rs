//! One table for both faces: what each error is in HTTP, in gRPC and to a machine. A full `match`, so a new variant does
//! not compile until REST and gRPC agree on it.

use axum::http::StatusCode;
use kernel::CommandError;
use tonic::Code;

use crate::app::AppError;
use crate::cluster::ClusterError;
use crate::engine::EngineError;

/// An error as the faces show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub http: StatusCode,
    pub grpc: Code,
    /// For machines; stable. The problem `type` is made of it.
    pub reason: &'static str,
    /// The problem's `title`: the same words for every error of this reason.
    pub title: &'static str,
    /// True if the same request may succeed later.
    pub retryable: bool,
}

const fn is(http: StatusCode, grpc: Code, reason: &'static str, title: &'static str) -> Status {
    Status { http, grpc, reason, title, retryable: false }
}

/// The server cannot serve this now.
const fn later(reason: &'static str, title: &'static str) -> Status {
    Status { http: StatusCode::SERVICE_UNAVAILABLE, grpc: Code::Unavailable, reason, title, retryable: true }
}

/// The request can never succeed as it is.
const fn bad(reason: &'static str, title: &'static str) -> Status {
    is(StatusCode::BAD_REQUEST, Code::InvalidArgument, reason, title)
}

/// Something named does not exist.
const fn absent(reason: &'static str, title: &'static str) -> Status {
    is(StatusCode::NOT_FOUND, Code::NotFound, reason, title)
}

/// What is there stands in the way.
const fn taken(reason: &'static str, title: &'static str) -> Status {
    is(StatusCode::CONFLICT, Code::AlreadyExists, reason, title)
}

/// The state of things does not allow it.
const fn refused(reason: &'static str, title: &'static str) -> Status {
    is(StatusCode::CONFLICT, Code::FailedPrecondition, reason, title)
}

/// What this error is to the outside.
pub fn status(error: &AppError) -> Status {
    match error {
        AppError::Invalid(_) => bad("INVALID_FIELD", "A field of the request is not usable"),
        AppError::Malformed(_) => bad("MALFORMED", "The request cannot be read"),
        AppError::TooLarge { .. } => {
            is(StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument, "TOO_LARGE", "The request is too large")
        }
        AppError::InvalidSpec { .. } => bad("INVALID_SPEC", "The pool's spec is not usable"),
        AppError::TypeUnknown { .. } => bad("TYPE_UNKNOWN", "No plugin serves this resource type"),
        AppError::ResourceInvalid { .. } => bad("RESOURCE_INVALID", "The resource's text is not usable"),
        AppError::ResourceOutside { .. } => bad("RESOURCE_OUTSIDE_POOL", "The resource is not in the pool"),
        AppError::HintInvalid { .. } => bad("HINT_INVALID", "A hint is not usable"),
        AppError::PluginUnavailable { .. } => later("PLUGIN_UNAVAILABLE", "The resource type's plugin is unavailable"),
        AppError::PoolUnknown { .. } => absent("POOL_UNKNOWN", "The pool is unknown"),
        AppError::IdsSwapped { .. } => bad("IDS_SWAPPED", "Pool and subscriber look swapped"),
        AppError::RealmAttributeMissing { .. } => {
            bad("REALM_ATTRIBUTE_MISSING", "An attribute that makes the realm is missing")
        }
        AppError::NothingHeld { .. } => absent("ALLOCATION_NOT_FOUND", "There is no such allocation"),
        AppError::OnlyPermanent { .. } => refused("NO_LEASE", "There is no lease to renew"),
        AppError::NoHolder { .. } => absent("NO_HOLDER", "Nobody holds the resource"),
        AppError::CursorInvalid { .. } => bad("CURSOR_INVALID", "The cursor is not usable"),
        AppError::Unauthenticated { .. } => {
            is(StatusCode::UNAUTHORIZED, Code::Unauthenticated, "UNAUTHENTICATED", "The caller is not known")
        }
        AppError::Forbidden { .. } => {
            is(StatusCode::FORBIDDEN, Code::PermissionDenied, "FORBIDDEN", "The caller may not do this")
        }
        AppError::TenantForbidden { .. } => is(
            StatusCode::FORBIDDEN,
            Code::PermissionDenied,
            "TENANT_FORBIDDEN",
            "The caller may not act for this tenant",
        ),
        AppError::Refused { error, .. } => of_command(error),
        AppError::Engine(error) => of_engine(error),
        AppError::Cluster(error) => of_cluster(error),
        AppError::History { .. } => later("HISTORY_UNAVAILABLE", "The history cannot be read"),
        AppError::ConflictUnknown { .. } => absent("CONFLICT_UNKNOWN", "There is no such open conflict"),
        AppError::PluginUnknown { .. } => absent("PLUGIN_UNKNOWN", "No plugin serves this type"),
        AppError::PluginInUse { .. } => refused("PLUGIN_IN_USE", "Pools use the plugin"),
        AppError::Storage { .. } => later("STORAGE_FAILED", "It could not be recorded"),
        AppError::BackupRefused { .. } => later("BACKUP_REFUSED", "No backup can be made now"),
        AppError::NoSuchPath { .. } => absent("NO_SUCH_PATH", "There is nothing at this path"),
        AppError::MethodNotAllowed { .. } => is(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::Unimplemented,
            "METHOD_NOT_ALLOWED",
            "The method is not possible here",
        ),
    }
}

fn of_command(error: &CommandError) -> Status {
    match error {
        CommandError::PoolUnknown { .. } => absent("POOL_UNKNOWN", "The pool is unknown"),
        CommandError::PoolClosing { .. } => refused("POOL_CLOSING", "The pool is being deleted"),
        CommandError::PoolDiffers { .. } => taken("POOL_DIFFERS", "The pool exists and is another"),
        CommandError::PoolOverlaps { .. } => taken("POOL_OVERLAPS", "The pool overlaps another one"),
        CommandError::PoolInUse { .. } => refused("POOL_IN_USE", "The pool is in use"),
        CommandError::RevisionDiffers { .. } => {
            is(StatusCode::CONFLICT, Code::Aborted, "REVISION_DIFFERS", "The pool was changed meanwhile")
        }
        CommandError::PoolFieldFixed { .. } => refused("POOL_FIELD_FIXED", "This cannot change while the pool lives"),
        CommandError::SpansHeld { .. } => refused("SPANS_HELD", "Held resources stand in the way"),
        CommandError::PoolGeometry { .. } => bad("POOL_GEOMETRY", "The pool cannot be cut into shards"),
        CommandError::Exhausted { .. } => Status {
            http: StatusCode::SERVICE_UNAVAILABLE,
            grpc: Code::ResourceExhausted,
            reason: "RESOURCE_EXHAUSTED",
            title: "The pool is exhausted",
            retryable: true,
        },
        CommandError::Crowded { .. } => later("OVERLOADED", "Too many requests wait for leases to end"),
        CommandError::MustBeAsked { .. } => bad("RESOURCE_NEEDED", "The pool hands out only what is asked for"),
        CommandError::Held { .. } => taken("RESOURCE_HELD", "Another subscriber holds the resource"),
        CommandError::ReservedForAnother { .. } => {
            taken("RESOURCE_RESERVED", "The resource is reserved for another subscriber")
        }
        CommandError::RestingForAnother { .. } => {
            taken("RESOURCE_RESTING", "The resource rests after another subscriber had it")
        }
        CommandError::HoldsAnother { .. } => {
            taken("HOLDS_ANOTHER", "The subscriber holds another resource in the pool")
        }
        CommandError::Superseded { .. } => refused("SUPERSEDED", "The subscriber holds another resource since"),
        CommandError::HoldsInOtherRealm { .. } => {
            taken("HOLDS_IN_OTHER_REALM", "The subscriber holds a resource of the pool in another realm")
        }
        CommandError::OutsidePool { .. } => bad("RESOURCE_OUTSIDE_POOL", "The resource is not in the pool"),
        CommandError::Excluded { .. } => bad("RESOURCE_EXCLUDED", "The resource is excluded from the pool"),
        CommandError::LengthRefused { .. } => bad("LENGTH_REFUSED", "The pool does not hand out this length"),
        CommandError::Misaligned { .. } => bad("RESOURCE_MISALIGNED", "The resource is not aligned in the pool"),
        CommandError::RealmValueMissing { .. } => {
            bad("REALM_ATTRIBUTE_MISSING", "An attribute that makes the realm is missing")
        }
        CommandError::TooManyRealms { .. } => refused("TOO_MANY_REALMS", "The pool serves no more realms"),
        CommandError::RealmValueInvalid { .. } => bad("REALM_VALUE_INVALID", "The realm's value is not usable"),
        CommandError::NotHeld { .. } => absent("ALLOCATION_NOT_FOUND", "There is no such allocation"),
        CommandError::NoLease { .. } => refused("NO_LEASE", "There is no lease to renew"),
        CommandError::NotReserved { .. } => absent("NOT_RESERVED", "There is no such reservation"),
        CommandError::Elsewhere { .. } => later("OWNER_UNREACHABLE", "The host that decides cannot be asked"),
        CommandError::LedgerDecides => later("LEDGER_DECIDES", "In a cluster the ledger decides about pools"),
        CommandError::NoteUnknown { .. } => absent("NOTE_UNKNOWN", "There is no such note"),
        CommandError::NoteDiffers { .. } => {
            is(StatusCode::CONFLICT, Code::Aborted, "VERSION_DIFFERS", "The note was changed meanwhile")
        }
        CommandError::NotesFull { .. } => refused("NOTES_FULL", "No more notes are kept"),
        CommandError::NotesWithheld => later("NOTES_WITHHELD", "The host has yet to hear what the others know"),
        CommandError::Unconfirmed { .. } => later("NOT_YET_KEPT", "Too few hosts know of it yet"),
        CommandError::Withheld { .. } => later("SPACE_WITHHELD", "The space left here may not be handed out now"),
    }
}

fn of_engine(error: &EngineError) -> Status {
    match error {
        EngineError::Overloaded { .. } => later("OVERLOADED", "The daemon has too much to do"),
        EngineError::StorageFull { .. } => later("STORAGE_FULL", "The disk is too full"),
        EngineError::Storage(_) => later("STORAGE_FAILED", "It could not be recorded"),
        EngineError::Damaged(_) => later("POOL_DAMAGED", "The pool's records are damaged on disk"),
        EngineError::Unreachable { .. } => later("OWNER_UNREACHABLE", "The host that decides cannot be asked"),
        EngineError::OwnerChanged => later("OWNER_CHANGED", "Another host decides since the request came"),
        EngineError::Late { .. } => later("ANSWER_LATE", "The answer came too late to be given"),
        EngineError::Ledger(_) => later("LEDGER_UNAVAILABLE", "The cluster's ledger cannot decide now"),
        EngineError::Unknown(_) => later("OUTCOME_UNKNOWN", "It may or may not have happened; ask again"),
        EngineError::NotInCluster(_) => later("NOT_IN_CLUSTER", "The host is in no cluster"),
        EngineError::Stopped => later("STOPPING", "The daemon is stopping"),
    }
}

fn of_cluster(error: &ClusterError) -> Status {
    match error {
        ClusterError::Invalid { .. } => bad("INVALID_FIELD", "A field of the request is not usable"),
        ClusterError::Refused(_) => refused("CLUSTER_REFUSED", "The state of the cluster does not allow it"),
        ClusterError::Unavailable(_) => later("CLUSTER_UNAVAILABLE", "The cluster cannot decide it now"),
        ClusterError::Unknown(_) => later("OUTCOME_UNKNOWN", "It may or may not have happened; ask again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::faults;

    #[test]
    fn what_waits_for_other_hosts_may_be_asked_again() {
        let waiting = [
            (AppError::Engine(EngineError::NotInCluster("it waits".into())), "NOT_IN_CLUSTER", "it waits"),
            (AppError::Engine(EngineError::Unknown("no answer".into())), "OUTCOME_UNKNOWN", "no answer"),
            (
                AppError::Engine(EngineError::Unreachable { hosts: vec!["core-2".into()] }),
                "OWNER_UNREACHABLE",
                "core-2",
            ),
            (AppError::Engine(EngineError::Ledger("no majority".into())), "LEDGER_UNAVAILABLE", "no majority"),
            (AppError::Cluster(ClusterError::Unavailable("no leader".into())), "CLUSTER_UNAVAILABLE", "no leader"),
            (AppError::Cluster(ClusterError::Unknown("no answer".into())), "OUTCOME_UNKNOWN", "no answer"),
        ];
        for (error, reason, part) in waiting {
            let Status { http, grpc, reason: told, retryable, .. } = status(&error);
            assert_eq!((http, grpc), (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable), "{error}");
            assert_eq!((told, retryable), (reason, true), "{error}");
            assert!(error.to_string().contains(part) && faults(&error).is_empty(), "{error}");
        }
    }

    #[test]
    fn what_the_cluster_refuses_names_what_is_to_blame() {
        let field =
            ClusterError::Invalid { field: "to".into(), value: "core-9".into(), remedy: "must be a member".into() };
        for (error, http, blamed) in [
            (field, StatusCode::BAD_REQUEST, "to"),
            (ClusterError::Refused("the last voter stays".into()), StatusCode::CONFLICT, "cluster"),
        ] {
            let error = AppError::Cluster(error);
            assert_eq!((status(&error).http, status(&error).retryable), (http, false), "{error}");
            assert_eq!(faults(&error).first().map(|fault| fault.field.as_str()), Some(blamed), "{error}");
        }
    }
}
