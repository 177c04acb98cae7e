//! Where answers and failures are shown: standard output in the chosen format, standard error for people.
//!
//! Colours only on a terminal and only if `NO_COLOR` is unset (no-color.org). Lists are written as they arrive, a page at
//! a time, so that a million rows need no memory.

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};

use crate::document::Document;
use crate::exit::{Failure, causes};
use crate::table::{Cell, Columns, Tone};

/// How answers look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // Aligned columns, for people. No doc comments here: clap would make every help twice as long for them.
    #[default]
    Table,
    // One JSON document; of `watch`, one line an event.
    Json,
    // One YAML document; of `watch`, one document an event.
    Yaml,
}

/// A row of a list, both ways.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    pub(crate) document: Document,
}

/// The terminal, or what stands for it.
pub(crate) struct Screen {
    out: Box<dyn Write>,
    format: Format,
    colour_out: bool,
    colour_err: bool,
}

impl Screen {
    /// Standard output and standard error.
    pub(crate) fn standard(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            format,
            colour_out: wanted && io::stdout().is_terminal(),
            colour_err: wanted && io::stderr().is_terminal(),
        }
    }

    /// Standard output without a format.
    pub(crate) fn plain() -> Self {
        Self::standard(Format::Table)
    }

    #[cfg(test)]
    pub(crate) fn into(out: impl Write + 'static, format: Format, colour: bool) -> Self {
        Self { out: Box::new(out), format, colour_out: colour, colour_err: colour }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// One answer: as a document, or as `name  value` lines.
    pub(crate) fn one(&mut self, document: &Document, lines: &[(&'static str, Cell)]) -> io::Result<()> {
        match self.format {
            Format::Table => self.lines(lines)?,
            Format::Json => writeln!(self.out, "{}", document.to_json_lines())?,
            Format::Yaml => write!(self.out, "{}", document.to_yaml())?,
        }
        self.out.flush()
    }

    /// Names and their values, aligned; lines without a value are left out.
    pub(crate) fn lines(&mut self, lines: &[(&'static str, Cell)]) -> io::Result<()> {
        let shown: Vec<_> = lines.iter().filter(|(_, cell)| !cell.text.is_empty()).collect();
        let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, cell) in shown {
            writeln!(self.out, "{name:width$}  {}", paint(cell, self.colour_out))?;
        }
        Ok(())
    }

    /// An empty line between two parts of an answer for people.
    pub(crate) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// A whole list at once, under `name`.
    pub(crate) fn list(
        &mut self,
        name: &'static str,
        headings: &'static [&'static str],
        rows: &[Row],
    ) -> io::Result<()> {
        let mut list = List::begin(self, name, headings);
        list.rows(rows)?;
        list.end(&[])
    }

    /// One of a stream of answers: a line, a JSON line, or a YAML document.
    pub(crate) fn event(&mut self, row: &Row, columns: &mut Columns) -> io::Result<()> {
        match self.format {
            Format::Table => {
                columns.fit(std::slice::from_ref(&row.cells));
                let colour = self.colour_out;
                writeln!(self.out, "{}", columns.line(&row.cells, &|cell| paint(cell, colour)))?;
            }
            Format::Json => writeln!(self.out, "{}", row.document.to_json())?,
            Format::Yaml => write!(self.out, "---\n{}", row.document.to_yaml())?,
        }
        self.out.flush()
    }

    /// Says why the command failed, with field, value and remedy.
    pub(crate) fn tell(&self, failure: &Failure) {
        if let Failure::Output(error) = failure
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return;
        }
        let label = Cell::toned("error:", Tone::Bad);
        let mut text = format!("{} {failure}", paint(&label, self.colour_err));
        for line in particulars(failure) {
            text.push_str("\n  ");
            text.push_str(&line);
        }
        complain(&text);
    }
}

/// What stands below a failure's sentence, a line each.
pub(crate) fn particulars(failure: &Failure) -> Vec<String> {
    match failure {
        Failure::File { faults, .. } => faults.iter().map(ToString::to_string).collect(),
        Failure::Refused(error) => refusal(error),
        Failure::Unreadable { source, .. } | Failure::Unwritable { source, .. } => vec![source.to_string()],
        Failure::WatchEnded { source, .. } => source.iter().map(ToString::to_string).collect(),
        Failure::Connect(error) => causes(error),
        Failure::Broken { causes } => {
            let perhaps = "the daemon may want https://, or a client certificate (--cert, --cert-key)".to_owned();
            causes.iter().cloned().chain(std::iter::once(perhaps)).collect()
        }
        Failure::Output(error) => vec![error.to_string()],
        Failure::Usage(_) | Failure::TakenBack { .. } | Failure::Partly { .. } => Vec::new(),
    }
}

/// Field, value and remedy; who stands in the way; and whether to try again.
pub(crate) fn refusal(error: &api::grpc::client::ClientError) -> Vec<String> {
    let named = |name: &str| error.metadata.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let told = |field: &str, remedy: &str| match named("value").filter(|_| named("field") == Some(field)) {
        Some(value) => format!("{field} is {value:?}: {remedy}"),
        None => format!("{field}: {remedy}"),
    };
    let mut lines: Vec<_> = error.violations.iter().map(|one| told(&one.field, &one.remedy)).collect();
    if let (true, Some(field)) = (lines.is_empty(), named("field")) {
        lines.push(told(field, named("remedy").unwrap_or_default()));
    }
    for (resource, holder) in &error.in_the_way {
        lines.push(format!("{resource} is in the way: {holder}"));
    }
    if error.retryable() {
        lines.push("the same command may succeed later".to_owned());
    }
    if !error.reason.is_empty() {
        lines.push(format!("reason {}", error.reason));
    }
    lines
}

/// A list being written.
pub(crate) struct List<'a> {
    screen: &'a mut Screen,
    name: &'static str,
    columns: Columns,
    written: usize,
    /// The heading is out: pages may be empty.
    begun: bool,
}

impl<'a> List<'a> {
    pub(crate) fn begin(screen: &'a mut Screen, name: &'static str, headings: &'static [&'static str]) -> Self {
        Self { screen, name, columns: Columns::new(headings), written: 0, begun: false }
    }

    /// Rows so far.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// A page.
    pub(crate) fn rows(&mut self, rows: &[Row]) -> io::Result<()> {
        let Screen { out, format, colour_out, .. } = &mut *self.screen;
        let first = !std::mem::replace(&mut self.begun, true);
        match format {
            Format::Table => {
                let cells: Vec<_> = rows.iter().map(|row| row.cells.clone()).collect();
                self.columns.fit(&cells);
                if first {
                    writeln!(out, "{}", self.columns.heading())?;
                }
                for row in &cells {
                    writeln!(out, "{}", self.columns.line(row, &|cell| paint(cell, *colour_out)))?;
                }
            }
            Format::Json => {
                if first {
                    write!(out, "{{\n  \"{}\": [", self.name)?;
                }
                for (at, row) in rows.iter().enumerate() {
                    let comma = if self.written + at > 0 { "," } else { "" };
                    write!(out, "{comma}\n    {}", row.document.to_json())?;
                }
            }
            Format::Yaml => {
                if first {
                    write!(out, "{}:{}", self.name, if rows.is_empty() { " []\n" } else { "\n" })?;
                }
                for row in rows {
                    write!(out, "{}", row.document.to_yaml_item(2))?;
                }
            }
        }
        self.written += rows.len();
        Ok(())
    }

    /// The end, with what is known of the whole list (`total`, `next_cursor`).
    pub(crate) fn end(self, about: &[(&'static str, Document)]) -> io::Result<()> {
        let written = self.written;
        let Screen { out, format, .. } = &mut *self.screen;
        let count = Document::number(written);
        let about = std::iter::once(("count", &count)).chain(about.iter().map(|(name, value)| (*name, value)));
        match format {
            Format::Table => {}
            Format::Json => {
                write!(out, "{}]", if written == 0 { "" } else { "\n  " })?;
                for (name, value) in about {
                    write!(out, ",\n  \"{name}\": {}", value.to_json())?;
                }
                writeln!(out, "\n}}")?;
            }
            Format::Yaml => {
                for (name, value) in about {
                    write!(out, "{}", Document::Fields(vec![(name.to_owned(), value.clone())]).to_yaml())?;
                }
            }
        }
        out.flush()
    }
}

fn paint(cell: &Cell, colour: bool) -> String {
    let style = match cell.tone {
        Tone::Plain => Style::new(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Notable => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
    };
    if colour { format!("{style}{}{style:#}", cell.text) } else { cell.text.clone() }
}

/// Standard error, for people: what is no part of the answer.
pub(crate) fn complain(text: &str) {
    // With standard error closed there is nobody to tell.
    let _untold = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests;
