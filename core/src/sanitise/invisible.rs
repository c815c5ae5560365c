//! Characters that nobody sees and that change what is read.

/// `text` without them. Line breaks and tabs become spaces.
pub(super) fn drop(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                kept.push(' ');
            }
            // Joiners spell Persian and Indic words and build emoji; between ASCII they only hide.
            '\u{200c}' | '\u{200d}' => {
                let joins = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !is_invisible(c));
                if joins(kept.chars().next_back()) && joins(rest.peek().copied()) {
                    kept.push(c);
                }
            }
            c if is_invisible(c) => {}
            c => kept.push(c),
        }
    }
    kept
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                       // soft hyphen
            | '\u{34f}'                    // combining grapheme joiner
            | '\u{61c}'                    // Arabic letter mark
            | '\u{115f}' | '\u{1160}'      // Hangul fillers
            | '\u{17b4}' | '\u{17b5}'      // Khmer inherent vowels
            | '\u{180b}'..='\u{180f}'      // Mongolian selectors and separator
            | '\u{200b}'..='\u{200f}'      // zero width, joiners, direction marks
            | '\u{202a}'..='\u{202e}'      // embeddings and overrides
            | '\u{2060}'..='\u{206f}'      // word joiner, invisible operators, isolates
            | '\u{3164}' | '\u{ffa0}'      // Hangul fillers
            | '\u{fe00}'..='\u{fe0d}'      // variation selectors; 15 and 16 choose emoji style
            | '\u{feff}'                   // byte order mark
            | '\u{fff9}'..='\u{fffb}'      // interlinear annotation
            | '\u{fdd0}'..='\u{fdef}'      // noncharacters
            | '\u{1bca0}'..='\u{1bca3}'    // shorthand controls
            | '\u{1d173}'..='\u{1d17a}'    // musical controls
            | '\u{e0000}'..='\u{e0fff}'    // tags and more selectors: text can be smuggled in them
        )
        || u32::from(c) & 0xfffe == 0xfffe // the last two of every plane are noncharacters
}
