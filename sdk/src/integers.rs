//! Types whose resources are single numbers: VLAN ids, MAC addresses, racks.

use crate::schema::{self, Object};
use crate::{
    Attribute, Descriptor, Hints, Item, Layout, Plan, PluginError, Sizing, Span, SpanSet, Spec, Strategy, Stretch,
};

/// The number line of such a type and how a number is written.
#[derive(Clone, Copy, Debug)]
pub struct IntegerLine {
    noun: &'static str,
    first: u128,
    last: u128,
    cut: u128,
    read: fn(&str) -> Option<u128>,
    write: fn(u128) -> String,
}

impl IntegerLine {
    /// Decimal numbers from `first` to `last`, both included. `noun` is what messages call one: "VLAN id".
    pub const fn decimal(noun: &'static str, first: u128, last: u128) -> Self {
        Self { noun, first, last, cut: 16, read: read_decimal, write: write_decimal }
    }

    /// With another spelling. `read` accepts every legal spelling of a number and `read(write(x)) = x`.
    #[must_use]
    pub const fn spelled(self, read: fn(&str) -> Option<u128>, write: fn(u128) -> String) -> Self {
        Self { read, write, ..self }
    }

    /// With shards on multiples of `cut` numbers; 16 unless said.
    #[must_use]
    pub const fn cut_every(self, cut: u128) -> Self {
        Self { cut, ..self }
    }

    /// The descriptor of a type on this line. The mapping between numbers and names is `<type-id>/1`.
    pub fn descriptor(&self, type_id: &str, version: &str, title: &str, examples: &[&str]) -> Descriptor {
        let (noun, whole) = (self.noun, self.write_run(self.first, self.last));
        let spec = Object::new()
            .optional("range", schema::texts(&format!("The {noun}s to hand out, as in {whole}.")))
            .optional(
                "ranges",
                schema::texts(&format!("Instead of range: several {noun}s or ranges that do not overlap.")),
            )
            .optional(
                "exclusions",
                schema::texts(&format!("{noun}s or ranges inside the pool that are never handed out.")),
            );
        Descriptor {
            type_id: type_id.to_owned(),
            plugin_version: version.to_owned(),
            mapping_id: format!("{type_id}/1"),
            title: title.to_owned(),
            spec_schema: spec.json(),
            hint_schema: Object::new().json(),
            examples: examples.iter().map(|example| (*example).to_owned()).collect(),
            labels: Vec::new(),
        }
    }

    /// The number a text stands for.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn number(&self, text: &str) -> Result<u128, String> {
        let legal = |number: &u128| (self.first..=self.last).contains(number);
        (self.read)(text).filter(legal).ok_or_else(|| {
            let (first, last) = ((self.write)(self.first), (self.write)(self.last));
            format!("{text:?} is not a {} from {first} to {last}", self.noun)
        })
    }

    /// The span of a number or of a range such as `100-500`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn run(&self, text: &str) -> Result<Span, String> {
        if let Ok(number) = self.number(text.trim()) {
            return Ok(Span::unit(number));
        }
        // A spelling may itself hold hyphens, so each is tried.
        for (at, _) in text.match_indices('-') {
            let (low, high) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
            if let (Ok(low), Ok(high)) = (self.number(low.trim()), self.number(high.trim())) {
                return Span::between(low, high)
                    .ok_or_else(|| format!("{text:?} runs backwards; write {}", self.write_run(high, low)));
            }
        }
        let whole = self.write_run(self.first, self.last);
        Err(format!("{text:?} is neither a {} nor a range of them inside {whole}", self.noun))
    }

    /// The text of a run: `100-500`, or `100` for a single number.
    pub fn write_run(&self, first: u128, last: u128) -> String {
        let first_text = (self.write)(first);
        if first == last { first_text } else { format!("{first_text}-{}", (self.write)(last)) }
    }

    /// Reads the field `single` or, instead, the field `several`: the numbers of a pool. Faults are noted.
    pub fn read_stock(&self, spec: &mut Spec, single: &'static str, several: &'static str) -> SpanSet {
        let whole = self.write_run(self.first, self.last);
        let (one, many) = (spec.texts(single), spec.texts(several));
        let items: Vec<Item> = match (one, many) {
            (Some(items), None) | (None, Some(items)) => items,
            (Some(_), Some(_)) => {
                spec.fault(format!("/{several}"), format!("stands beside {single:?}; give one of the two"));
                return SpanSet::default();
            }
            (None, None) => {
                if spec.is_sound() {
                    spec.fault(format!("/{single}"), format!("is missing; give the {}s, as in {whole:?}", self.noun));
                }
                return SpanSet::default();
            }
        };
        if items.is_empty() && spec.is_sound() {
            spec.fault(format!("/{several}"), format!("is empty; give the {}s, as in {whole:?}", self.noun));
        }
        let stretches = Stretch::read_all(spec, items, |text| self.run(text));
        let stock = SpanSet::disjoint(spec, &stretches);
        stock.check_size(spec, &format!("/{several}"));
        stock
    }

    fn write_set(&self, set: &SpanSet) -> String {
        let texts: Vec<String> =
            set.spans().iter().filter_map(|span| Some(self.write_run(span.start, span.last()?))).collect();
        texts.join(",")
    }
}

/// A pool of single numbers: `range` or `ranges`, less `exclusions`. No hints.
#[derive(Clone, Debug)]
pub struct IntegerPool {
    line: IntegerLine,
    stock: SpanSet,
    excluded: SpanSet,
}

impl IntegerPool {
    /// Reads a spec.
    ///
    /// # Errors
    /// [`PluginError::InvalidSpec`] with every fault.
    pub fn open(line: IntegerLine, spec: &str) -> Result<Self, PluginError> {
        let mut spec = Spec::read(spec)?;
        let stock = line.read_stock(&mut spec, "range", "ranges");
        let exclusions = spec.texts("exclusions").unwrap_or_default();
        let exclusions = Stretch::read_all(&mut spec, exclusions, |text| line.run(text));
        if stock.is_empty() {
            return spec.finish(None);
        }
        let excluded = SpanSet::inside(&mut spec, &exclusions, &stock, &line.write_set(&stock));
        excluded.check_size(&mut spec, "/exclusions");
        if spec.is_sound() && excluded.positions() == stock.positions() {
            spec.fault("/exclusions", "leaves nothing to hand out; exclude less");
        }
        spec.finish(Some(Self { line, stock, excluded }))
    }

    /// As [`ResourceType::layout`](crate::ResourceType::layout). The attribute `range` says what the pool holds.
    pub fn layout(&self) -> Layout {
        Layout {
            spans: self.stock.series(),
            excluded: self.excluded.series(),
            grain: 1,
            sizing: Sizing::fixed(1),
            cut: self.line.cut.min(self.stock.longest()),
            attributes: vec![Attribute::new("range", self.line.write_set(&self.stock))],
            strategy: Strategy::FirstFree,
        }
    }

    /// As [`ResourceType::render`](crate::ResourceType::render).
    pub fn render(&self, span: Span) -> Result<String, PluginError> {
        if span.len == 1 && self.stock.contains(span) {
            Ok((self.line.write)(span.start))
        } else {
            Err(PluginError::OutOfRange)
        }
    }

    /// As [`ResourceType::parse`](crate::ResourceType::parse).
    pub fn parse(&self, name: &str) -> Result<Span, PluginError> {
        let span = Span::unit(self.line.number(name).map_err(PluginError::InvalidName)?);
        if self.stock.contains(span) { Ok(span) } else { Err(PluginError::OutOfRange) }
    }

    /// As [`ResourceType::interpret`](crate::ResourceType::interpret): one number, anywhere.
    pub fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError> {
        Hints::read(hints, &[]).map(|_| Plan::of(1))
    }

    /// As [`ResourceType::summarize`](crate::ResourceType::summarize).
    pub fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError> {
        match run.last() {
            Some(last) if self.stock.contains(run) => Ok(vec![self.line.write_run(run.start, last)]),
            _ => Err(PluginError::OutOfRange),
        }
    }
}

/// Digits and nothing else: no sign, no space. Leading zeros are another spelling.
fn read_decimal(text: &str) -> Option<u128> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn write_decimal(number: u128) -> String {
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: IntegerLine = IntegerLine::decimal("VLAN id", 1, 4094);

    fn faults(spec: &str) -> String {
        IntegerPool::open(LINE, spec).unwrap_err().to_string()
    }

    #[test]
    fn a_range_is_read_in_every_form() {
        for (text, span) in [
            ("100-200", Span::new(100, 101)),
            (" 7 ", Span::unit(7)),
            ("5 - 9", Span::new(5, 5)),
            ("007", Span::unit(7)),
        ] {
            assert_eq!(LINE.run(text), Ok(span), "{text}");
        }
        assert_eq!(LINE.run("9-5").unwrap_err(), "\"9-5\" runs backwards; write 5-9");
        for bad in ["", "-", "5-", "-5", "+5", "0", "4095", "1-4095", "a-b", "5..9", "1-2-3"] {
            assert_eq!(
                LINE.run(bad).unwrap_err(),
                format!("{bad:?} is neither a VLAN id nor a range of them inside 1-4094")
            );
        }
    }

    #[test]
    fn faults_say_what_would_be_right() {
        for (spec, want) in [
            ("{}", "/range: is missing; give the VLAN ids, as in \"1-4094\""),
            (r#"{"ranges":[]}"#, "/ranges: is empty; give the VLAN ids, as in \"1-4094\""),
            (r#"{"range":"1-9","ranges":["1"]}"#, "/ranges: stands beside \"range\"; give one of the two"),
            (r#"{"ranges":["1-9","5"]}"#, "/ranges/1: \"5\" overlaps \"1-9\" at /ranges/0; write each only once"),
            (
                r#"{"range":"1-9","exclusions":["9-12"]}"#,
                "/exclusions/0: \"9-12\" is not inside the pool, which is 1-9",
            ),
            (
                r#"{"range":"1-9","exclusions":["1-5",6,"7-9"]}"#,
                "/exclusions: leaves nothing to hand out; exclude less",
            ),
            (r#"{"range":{}}"#, "/range: is an object; must be a list of texts"),
        ] {
            assert_eq!(faults(spec), format!("the spec has 1 fault(s): {want}"), "{spec}");
        }
    }

    #[test]
    fn names_outside_the_line_and_outside_the_pool_differ() {
        let pool = IntegerPool::open(LINE, r#"{"ranges":["100-200","300"],"exclusions":[150]}"#).unwrap();
        assert_eq!(pool.parse("150"), Ok(Span::unit(150)), "excluded is still of the pool");
        assert_eq!(pool.parse("250"), Err(PluginError::OutOfRange));
        assert!(matches!(pool.parse("5000"), Err(PluginError::InvalidName(_))));
        assert_eq!(pool.render(Span::new(100, 2)), Err(PluginError::OutOfRange));
        assert_eq!(pool.summarize(Span::new(100, 20)).unwrap(), ["100-119"]);
        assert_eq!(pool.summarize(Span::new(200, 101)), Err(PluginError::OutOfRange));
        assert_eq!(pool.layout().attributes, [Attribute::new("range", "100-200,300")]);
    }
}
