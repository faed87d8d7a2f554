/// Lays cells out in columns, `gap` apart, each as wide as its widest cell. A cell of several
/// lines makes its row as high. Nothing is ever cut off.
pub(crate) fn columns(rows: &[Vec<String>], right_aligned: &[usize], gap: &str) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width =
        |cell: &String| cell.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(cell_width).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let height = row.iter().map(|cell| cell.lines().count()).max().unwrap_or(0);
        for at in 0..height {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                let text = cell.lines().nth(at).unwrap_or("");
                let gap = if i == 0 { "" } else { gap };
                let width = widths[i];
                if right_aligned.contains(&i) {
                    line += &format!("{gap}{text:>width$}");
                } else {
                    line += &format!("{gap}{text:<width$}");
                }
            }
            out += line.trim_end();
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let text =
            columns(&[row(&["id", "size", "x"]), row(&["ü\nlong", "5\n60", ""])], &[1], "  ");
        assert_eq!(text, "id    size  x\nü        5\nlong    60\n");
    }
}
