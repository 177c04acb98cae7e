//! Notes: what operators write about OLTs, sites and tenants. Any host may be asked, and nobody allocates from them.

use kernel::{Command, CommandError, NoteKey, Notes, PutNote, Reply};

use super::App;
use super::allocate::unexpected;
use super::caller::{Caller, Role};
use super::error::{AppError, Fault};
use super::input::{NoteInput, NoteQuery};
use super::lookups::page_limit;
use super::output::{NoteShown, Page};

impl App {
    /// Writes or deletes a note; gives what stands of it then. What another host wrote at the same time, and neither knew of
    /// the other, is kept beside the winner until somebody writes again.
    pub async fn write_note(&self, caller: &Caller, input: NoteInput) -> Result<NoteShown, AppError> {
        caller.needs(Role::Operate)?;
        let NoteInput { key, value, expected } = input;
        let put = PutNote { tenant: caller.tenant.clone(), key: key.clone(), value, expected };
        match self.engine.submit(Command::PutNote(Box::new(put))).await? {
            Ok(Reply::NotePut { .. } | Reply::NoteDeleted(_)) => {
                let writes = self.view.note(&caller.tenant, &key);
                Ok(NoteShown { key, writes })
            }
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(AppError::Refused { error: Box::new(error), resource: None }),
        }
    }

    /// A note; an error if there is none.
    pub fn note(&self, caller: &Caller, key: NoteKey) -> Result<NoteShown, AppError> {
        caller.needs(Role::Read)?;
        let writes = self.view.note(&caller.tenant, &key);
        if writes.first().is_none_or(|winner| winner.note.value.is_none()) {
            let error = Box::new(CommandError::NoteUnknown { key });
            return Err(AppError::Refused { error, resource: None });
        }
        Ok(NoteShown { key, writes })
    }

    /// A page of the tenant's notes, in the order of keys. A deleted one is among them while something that lost against the
    /// deletion waits for somebody to look at it.
    pub fn notes(&self, caller: &Caller, query: &NoteQuery) -> Result<Page<NoteShown>, AppError> {
        caller.needs(Role::Read)?;
        let limit = page_limit(query.limit)?;
        let after = query.cursor.as_deref().filter(|cursor| !cursor.is_empty()).map(read_cursor).transpose()?;
        let wanted = |writes: &[_]| !query.disputed || Notes::is_disputed(writes);
        let page = self.view.notes(&caller.tenant, &query.prefix, wanted, after.as_ref(), limit);
        let next = page.rows.last().filter(|_| page.more).map(|(key, _)| cursor_after(key));
        let rows = page.rows.into_iter().map(|(key, writes)| NoteShown { key, writes }).collect();
        Ok(Page { rows, total: page.total, next })
    }
}

/// The key in hexadecimal: safe in a URL, and nothing to be made up by hand.
fn cursor_after(key: &NoteKey) -> String {
    let digit = |digit: u8| char::from_digit(u32::from(digit), 16);
    key.as_str().bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

fn read_cursor(cursor: &str) -> Result<NoteKey, AppError> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = cursor.as_bytes().chunks(2).map(byte).collect();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
    key.ok_or_else(|| AppError::CursorInvalid { cursor: Fault::new("", cursor, "").value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_rubbish_is_refused() {
        let key: NoteKey = "olt/größe".parse().expect("a key");
        assert_eq!(read_cursor(&cursor_after(&key)), Ok(key));
        for wrong in ["6", "zz", "ff", "2f", "00"] {
            assert!(matches!(read_cursor(wrong), Err(AppError::CursorInvalid { .. })), "{wrong}");
        }
    }
}
