//! Inserting many rows with few statements: each costs a turn of the connection's own thread, whatever it has in it.

use std::sync::LazyLock;

/// Rows of a statement, the largest first. Few sizes, so that each stays prepared.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// The statements that insert into one table.
pub(super) struct Inserts(LazyLock<Vec<(usize, String)>>);

impl Inserts {
    /// By [`texts`].
    pub(super) const fn new(texts: fn() -> Vec<(usize, String)>) -> Self {
        Self(LazyLock::new(texts))
    }

    /// The statement for as many of `rows` as it takes, and how many that is; `None` for no rows.
    pub(super) fn of(&'static self, rows: usize) -> Option<(&'static str, usize)> {
        let (size, text) = self.0.iter().find(|(size, _)| *size <= rows)?;
        Some((text.as_str(), *size))
    }
}

/// `head`, which ends in `VALUES`, with so many columns for each size.
pub(super) fn texts(head: &str, columns: usize) -> Vec<(usize, String)> {
    let row = |row: usize| {
        let places: Vec<String> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", places.join(", "))
    };
    let text = |size: usize| format!("{head} {}", (0..size).map(row).collect::<Vec<_>>().join(", "));
    SIZES.into_iter().map(|size| (size, text(size))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: Inserts = Inserts::new(|| texts("INSERT INTO pairs (a, b) VALUES", 2));

    #[test]
    fn a_statement_takes_as_many_rows_as_fit() {
        assert_eq!(PAIRS.of(1), Some(("INSERT INTO pairs (a, b) VALUES ($1, $2)", 1)));
        assert!(PAIRS.of(5).is_some_and(|(text, rows)| rows == 4 && text.ends_with("($5, $6), ($7, $8)")));
        let sizes: Vec<_> = [0, 3, 4, 15, 16, 63, 64, 1000].map(|rows| PAIRS.of(rows).map(|(_, size)| size)).into();
        assert_eq!(sizes, [None, Some(1), Some(4), Some(4), Some(16), Some(16), Some(64), Some(64)]);
    }
}
