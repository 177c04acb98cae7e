//! Names of resources. The commit group names every allocation once; here are only the few that missed it.

use compact_str::CompactString;
use kernel::{Allocation, CommandError, Pool, Span};

use super::App;
use super::error::{AppError, Fault};
use crate::ports::TypeError;

/// What a plugin's refusal means for a request about this pool; `resource` is the text it was asked about.
pub(crate) fn of_type_error(pool: &Pool, resource: &str, error: TypeError) -> AppError {
    let pool = pool.draft.id.clone();
    match error {
        TypeError::Unknown { type_id, .. } => {
            AppError::PluginUnavailable { type_id, why: "no plugin serves the type now".to_owned() }
        }
        TypeError::InvalidSpec(problems) => {
            let faults = problems.iter().map(|found| Fault::at_pointer("spec", &found.path, "", found.message.clone()));
            AppError::InvalidSpec { pool, faults: faults.collect() }
        }
        TypeError::InvalidName(why) => AppError::ResourceInvalid { pool, resource: resource.to_owned(), why },
        TypeError::InvalidHint(found) => {
            AppError::HintInvalid { pool, fault: Fault::at_pointer("hints", &found.path, "", found.message) }
        }
        TypeError::OutOfRange => AppError::ResourceOutside { pool, resource: resource.to_owned() },
        TypeError::Unavailable { type_id, why } => AppError::PluginUnavailable { type_id, why },
    }
}

/// Fewer answers than questions.
fn no_answer(pool: &Pool) -> TypeError {
    TypeError::Unavailable { type_id: pool.draft.type_id.to_string(), why: "it gave no answer".to_owned() }
}

impl App {
    /// Sees to it that the allocation has its name.
    pub(crate) fn name(&self, pool: &Pool, allocation: &Allocation) -> Result<(), AppError> {
        if allocation.name().is_some() {
            return Ok(());
        }
        allocation.set_name(self.render_one(pool, allocation.span)?);
        Ok(())
    }

    pub(crate) fn render_one(&self, pool: &Pool, span: Span) -> Result<CompactString, AppError> {
        let names = self.types.render(pool, &[span]);
        let name = names.and_then(|names| names.into_iter().next().unwrap_or_else(|| Err(no_answer(pool))));
        name.map_err(|error| of_type_error(pool, "", error))
    }

    /// The span of a resource's text. A bare address in a pool of prefixes means the prefix that begins there, since that
    /// is how the older form's answers name it.
    pub(crate) fn parse_one(&self, pool: &Pool, resource: &str) -> Result<Span, AppError> {
        let found = self.types.parse(pool, &[resource]);
        let span = found.and_then(|found| found.into_iter().next().unwrap_or_else(|| Err(no_answer(pool))));
        span.map_err(|error| of_type_error(pool, resource, error))
    }

    /// The kernel's refusal with the text of the span it is about.
    pub(crate) fn refused(&self, pool: &Pool, error: CommandError) -> AppError {
        let resource = match &error {
            CommandError::Held { span, .. }
            | CommandError::ReservedForAnother { span, .. }
            | CommandError::RestingForAnother { span, .. }
            | CommandError::OutsidePool { span, .. }
            | CommandError::Excluded { span, .. }
            | CommandError::Misaligned { span, .. }
            | CommandError::NotReserved { span, .. } => self.render_one(pool, *span).ok(),
            CommandError::HoldsAnother { allocation, .. }
            | CommandError::HoldsInOtherRealm { allocation, .. }
            | CommandError::Superseded { by: allocation, .. } => {
                self.name(pool, &allocation.0).ok().and_then(|()| allocation.0.name().map(CompactString::from))
            }
            CommandError::PoolUnknown { .. } => return AppError::PoolUnknown { pool: pool.draft.id.clone() },
            CommandError::RealmValueMissing { .. }
            | CommandError::NoteUnknown { .. }
            | CommandError::NoteDiffers { .. }
            | CommandError::NotesFull { .. }
            | CommandError::NotesWithheld
            | CommandError::PoolClosing { .. }
            | CommandError::PoolDiffers { .. }
            | CommandError::PoolOverlaps { .. }
            | CommandError::PoolInUse { .. }
            | CommandError::RevisionDiffers { .. }
            | CommandError::PoolFieldFixed { .. }
            | CommandError::SpansHeld { .. }
            | CommandError::PoolGeometry { .. }
            | CommandError::Exhausted { .. }
            | CommandError::MustBeAsked { .. }
            | CommandError::LengthRefused { .. }
            | CommandError::TooManyRealms { .. }
            | CommandError::RealmValueInvalid { .. }
            | CommandError::NotHeld { .. }
            | CommandError::NoLease { .. }
            | CommandError::Crowded { .. }
            | CommandError::LedgerDecides
            | CommandError::Elsewhere { .. }
            | CommandError::Withheld { .. }
            | CommandError::Unconfirmed { .. } => None,
        };
        AppError::Refused { error: Box::new(error), resource }
    }
}
