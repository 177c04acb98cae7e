//! Inputs that nobody should send, made from inputs that are right.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Letters that mean something somewhere: separators, signs, digits, a space, letters of more than one byte.
const LETTERS: [char; 22] = [
    '0',
    '1',
    '9',
    'a',
    'f',
    'F',
    'z',
    '.',
    ':',
    '/',
    '-',
    '+',
    '%',
    ' ',
    '"',
    '\\',
    '{',
    '[',
    ',',
    '\u{0}',
    'é',
    '\u{1f600}',
];

/// Names without end: some fixed ones, then mutations of `seeds`.
pub(crate) fn names<'a>(seeds: &'a [String], random: &'a mut Random) -> impl Iterator<Item = String> + 'a {
    let long = "9".repeat(255);
    let fixed =
        ["", " ", "-", "/", ":", "::", "-1", "+1", "0", "4096", "1e3", "0x10", "\n", "\u{0}", "é", "1/1/1", "1-2-3"];
    let fixed =
        fixed.map(str::to_owned).into_iter().chain([long, format!("{}-{}", u128::MAX, u128::MAX), "1:".repeat(100)]);
    fixed.chain(std::iter::from_fn(move || {
        let seed = random.pick(seeds).cloned().unwrap_or_default();
        Some(edited(&seed, random))
    }))
}

/// Specs without end: fixed ones, fields replaced by values of other kinds, then text edits.
pub(crate) fn specs<'a>(examples: &'a [String], random: &'a mut Random) -> impl Iterator<Item = String> + 'a {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let fixed = ["", "null", "[]", "1", "\"x\"", "{", "{}", "{\"\":1}", "{\"a\":}"].map(str::to_owned);
    let fixed = fixed.into_iter().chain([deep.clone(), format!("{{\"range\":{deep}}}")]);
    fixed.chain(std::iter::from_fn(move || {
        let example = random.pick(examples).cloned().unwrap_or_default();
        match (random.below(2), serde_json::from_str::<Map<String, Value>>(&example)) {
            (0, Ok(fields)) => Some(replaced(fields, random)),
            _ => Some(edited(&example, random)),
        }
    }))
}

/// One field gets a value it should not have, or text edits of the one it has.
fn replaced(mut fields: Map<String, Value>, random: &mut Random) -> String {
    let names: Vec<String> = fields.keys().cloned().collect();
    let Some(name) = random.pick(&names).cloned() else { return "{}".to_owned() };
    let value = match fields.get(&name) {
        Some(Value::String(text)) if random.below(2) == 0 => Value::String(edited(text, random)),
        _ => {
            let values = [
                json!(null),
                json!(true),
                json!(-1),
                json!(0),
                json!(1),
                json!(4095),
                json!(u64::MAX),
                json!(1.5),
                json!(""),
                json!("0"),
                json!("0-0"),
                json!("::/0"),
                json!("0.0.0.0/0"),
                json!("1-4294967295"),
                json!([]),
                json!([[]]),
                json!([1, "1", null]),
                json!({}),
                json!("9".repeat(100)),
                json!(["1", "1"]),
            ];
            random.pick(&values).cloned().unwrap_or_default()
        }
    };
    fields.insert(name, value);
    Value::Object(fields).to_string()
}

/// One to four edits of single letters.
pub(crate) fn edited(text: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.index(letters.len() + 1);
        let letter = random.pick(&LETTERS).copied().unwrap_or('0');
        match random.below(4) {
            0 => letters.insert(at, letter),
            1 => letters.truncate(at),
            2 if at < letters.len() => {
                letters.remove(at);
            }
            _ => {
                if let Some(old) = letters.get_mut(at) {
                    *old = letter;
                }
            }
        }
    }
    letters.into_iter().collect()
}
