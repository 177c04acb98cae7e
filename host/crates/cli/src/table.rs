//! Rows under headings, each column as wide as its widest cell. Cells are text; what they mean is decided elsewhere.

/// How a cell is to be shown where colours are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Notable,
    Bad,
}

/// One field of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// Column widths that only grow, so that pages of one list line up as far as they can.
#[derive(Debug)]
pub(crate) struct Columns {
    headings: &'static [&'static str],
    widths: Vec<usize>,
}

/// Between two columns.
const GAP: &str = "  ";

impl Columns {
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        Self { headings, widths: headings.iter().map(|heading| heading.chars().count()).collect() }
    }

    /// Makes room for these rows.
    pub(crate) fn fit(&mut self, rows: &[Vec<Cell>]) {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
    }

    pub(crate) fn heading(&self) -> String {
        let cells: Vec<_> = self.headings.iter().map(|heading| Cell::from(*heading)).collect();
        self.line(&cells, &|cell| cell.text.clone())
    }

    /// A row; `paint` shows a cell's tone and may only add what takes no room.
    pub(crate) fn line(&self, row: &[Cell], paint: &dyn Fn(&Cell) -> String) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
            if at > 0 {
                line.push_str(GAP);
            }
            line.push_str(&paint(cell));
            // The last column is not filled up: no trailing blanks.
            if at + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.text.chars().count())));
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut columns = Columns::new(&["POOL", "TYPE", "NOTE"]);
        let rows =
            [vec!["isp-east".into(), "ipv4".into(), Cell::default()], vec!["ü".into(), "vlan".into(), "x".into()]];
        columns.fit(&rows);
        let plain = |cell: &Cell| cell.text.clone();
        assert_eq!(columns.heading(), "POOL      TYPE  NOTE");
        assert_eq!(columns.line(&rows[0], &plain), "isp-east  ipv4");
        assert_eq!(columns.line(&rows[1], &plain), "ü         vlan  x");
    }
}
