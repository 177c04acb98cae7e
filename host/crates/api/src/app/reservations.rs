//! Reservations: a resource kept for a named subscriber.

use std::sync::Arc;

use compact_str::CompactString;
use kernel::{Command, CommandError, Pool, Reply, Reservation, ReserveRequest, Span, SubscriberId};
use view::ListCursor;

use super::App;
use super::allocate::unexpected;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::{ReservationInput, ReservationQuery};
use super::lookups::{page_limit, read_cursor};
use super::output::{Page, ReservationMade, Reserved};
use super::realms::realm_value;

/// Longest note of an operator, in bytes.
const MOST_NOTE: usize = 1_024;

impl App {
    /// Keeps a resource for a subscriber. The same again is a success; held or kept for another is a conflict.
    pub async fn reserve(
        &self,
        caller: &Caller,
        input: &ReservationInput,
        subscriber: SubscriberId,
        note: &str,
    ) -> Result<ReservationMade, AppError> {
        caller.needs(Role::Operate)?;
        if note.len() > MOST_NOTE {
            return Err(AppError::invalid("note", note, format!("must have at most {MOST_NOTE} bytes")));
        }
        let (pool, span, realm_value) = self.reserved_place(caller, input)?;
        let name = self.render_one(&pool, span)?;
        let request = ReserveRequest { pool: pool.uid, realm_value, span, subscriber, name, note: note.into() };
        match self.engine.submit(Command::Reserve(Box::new(request))).await? {
            Ok(Reply::Reserved { reservation, created }) => {
                Ok(ReservationMade { reserved: self.reserved(pool, reservation), created })
            }
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(self.refused(&pool, error)),
        }
    }

    /// Keeps it no longer.
    pub async fn unreserve(&self, caller: &Caller, input: &ReservationInput) -> Result<Reserved, AppError> {
        caller.needs(Role::Operate)?;
        let (pool, span, realm_value) = self.reserved_place(caller, input)?;
        match self.engine.submit(Command::Unreserve { pool: pool.uid, realm_value, span }).await? {
            Ok(Reply::Unreserved(reservation)) => Ok(self.reserved(pool, reservation)),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => {
                if matches!(error, CommandError::NotReserved { .. }) {
                    // Whoever decides says so. That another host knows of the removal, perhaps of a moment ago, is waited for.
                    let _unheard = self.engine.catch_up().await;
                }
                Err(self.refused(&pool, error))
            }
        }
    }

    /// A page of the tenant's reservations, in order of pool, realm and position.
    pub fn reservations(&self, caller: &Caller, query: &ReservationQuery) -> Result<Page<Reserved>, AppError> {
        caller.needs(Role::Read)?;
        let limit = page_limit(query.limit)?;
        let after = read_cursor(query.cursor.as_deref())?;
        let pool = query.pool.as_ref().map(|pool| self.pool_of(caller, pool)).transpose()?;
        let mut rows = Vec::new();
        for reservation in self.view.reservations(pool.map(|pool| pool.uid)) {
            if query.subscriber.as_ref().is_some_and(|subscriber| *subscriber != reservation.subscriber) {
                continue;
            }
            match self.view.pool_by_uid(reservation.pool) {
                Some(pool) if pool.draft.tenant == caller.tenant => rows.push(self.reserved(pool, reservation)),
                Some(_) | None => {}
            }
        }
        let total = rows.len() as u64;
        if let Some(after) = after {
            rows.retain(|row| place(&row.reservation) > after);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| place(&row.reservation).encode());
        Ok(Page { rows, total, next })
    }

    fn reserved_place(
        &self,
        caller: &Caller,
        input: &ReservationInput,
    ) -> Result<(Arc<Pool>, Span, Option<CompactString>), AppError> {
        let pool = self.pool_of(caller, &input.pool)?;
        let span = self.parse_one(&pool, &input.resource)?;
        let realm_value = realm_value(&pool, input.node.as_ref(), &input.attributes)?;
        Ok((pool, span, realm_value))
    }

    pub(crate) fn reserved(&self, pool: Arc<Pool>, reservation: Arc<Reservation>) -> Reserved {
        let realm = self.realm_name(reservation.realm);
        Reserved { reservation, pool, realm }
    }
}

fn place(reservation: &Reservation) -> ListCursor {
    ListCursor { pool: reservation.pool, realm: reservation.realm, start: reservation.span.start() }
}
