//! Pairs of S-VLAN and C-VLAN as one resource: a line, a layout and a hint of its own.
//!
//! The position of a pair is `s_vlan * 4096 + c_vlan`, its name `100.200`. A pool is all pairs of its S-VLANs and its
//! C-VLANs, one series for each run of either: the C-VLANs of one S-VLAN are a span, and the S-VLANs repeat it. The
//! hint `s_vlan` narrows a request to the pairs of one S-VLAN.

use nexus_plugin_sdk::schema::{self, Object};
use nexus_plugin_sdk::{
    Attribute, Descriptor, Hints, IntegerLine, Item, Layout, Plan, PluginError, ResourceType, Series, Sizing, Span,
    SpanSet, Spec, Strategy, Stretch,
};

const IDS: IntegerLine = IntegerLine::decimal("VLAN id", 1, 4094);
/// Positions of one S-VLAN on the line.
const STRIDE: u128 = 4096;
/// Shards hold this many pairs, or all of an S-VLAN's if there are fewer.
const CUT: u128 = 256;

#[derive(Clone, Debug)]
pub struct QinQ {
    s_vlans: SpanSet,
    c_vlans: SpanSet,
}

impl ResourceType for QinQ {
    fn describe() -> Descriptor {
        let spec = Object::new()
            .required("s_vlans", schema::texts("The outer tags: ids or ranges, as in 100-199."))
            .optional("c_vlans", schema::texts("The inner tags under each of them; all, 1-4094, if absent."));
        let hints = Object::new().hint("s_vlan", "Only pairs with this outer tag.", "^[0-9]{1,4}$", "100");
        Descriptor {
            type_id: "qinq".to_owned(),
            plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
            mapping_id: "qinq/1".to_owned(),
            title: "Pairs of S-VLAN and C-VLAN".to_owned(),
            spec_schema: spec.json(),
            hint_schema: hints.json(),
            examples: vec![
                r#"{"s_vlans":"100-199","c_vlans":["10-99","1000-1999"]}"#.to_owned(),
                r#"{"s_vlans":100}"#.to_owned(),
            ],
            labels: Vec::new(),
        }
    }

    fn open(spec: &str) -> Result<Self, PluginError> {
        let mut spec = Spec::read(spec)?;
        let outer = spec.texts("s_vlans").unwrap_or_default();
        let inner = spec
            .texts("c_vlans")
            .unwrap_or_else(|| vec![Item { path: "/c_vlans".to_owned(), text: "1-4094".to_owned() }]);
        for (path, items) in [("/s_vlans", &outer), ("/c_vlans", &inner)] {
            if items.is_empty() && spec.is_sound() {
                spec.fault(path, "names no VLAN id; give ids or ranges, as in 100-199");
            }
        }
        let mut read = |items| {
            let stretches = Stretch::read_all(&mut spec, items, |text| IDS.run(text));
            SpanSet::disjoint(&mut spec, &stretches)
        };
        let pool = Self { s_vlans: read(outer), c_vlans: read(inner) };
        let runs = pool.spans().len();
        if runs > Layout::MAX_SERIES {
            spec.fault("/c_vlans", format!("makes {runs} runs of pairs; at most {} are allowed", Layout::MAX_SERIES));
        }
        spec.finish(Some(pool))
    }

    fn layout(&self) -> Layout {
        Layout {
            spans: self.spans(),
            excluded: Vec::new(),
            grain: 1,
            sizing: Sizing::fixed(1),
            cut: CUT.min(self.c_vlans.longest()),
            attributes: Vec::new(),
            strategy: Strategy::FirstFree,
        }
    }

    fn render(&self, span: Span) -> Result<String, PluginError> {
        let (s_vlan, c_vlans) = self.pair(span)?;
        if c_vlans.len == 1 { Ok(format!("{s_vlan}.{}", c_vlans.start)) } else { Err(PluginError::OutOfRange) }
    }

    fn parse(&self, name: &str) -> Result<Span, PluginError> {
        let Some((s_vlan, c_vlan)) = name.split_once('.') else {
            return Err(PluginError::InvalidName(format!("{name:?} is no pair of VLAN ids such as 100.200")));
        };
        let number = |text| IDS.number(text).map_err(PluginError::InvalidName);
        let span = Span::unit(number(s_vlan)? * STRIDE + number(c_vlan)?);
        self.pair(span).map(|_| span)
    }

    fn interpret(&self, hints: &[Attribute]) -> Result<Plan, PluginError> {
        let Some(text) = Hints::read(hints, &["s_vlan"])?.get("s_vlan") else { return Ok(Plan::of(1)) };
        let s_vlan = IDS.number(text).map_err(|message| Hints::refuse("s_vlan", message))?;
        match self.c_vlans.hull().filter(|_| self.s_vlans.contains(Span::unit(s_vlan))) {
            Some(inner) => {
                Ok(Plan { within: vec![Span::new(s_vlan * STRIDE + inner.start, inner.len)], ..Plan::of(1) })
            }
            None => Err(Hints::refuse("s_vlan", format!("{s_vlan} is not one of the pool's S-VLANs"))),
        }
    }

    fn summarize(&self, run: Span) -> Result<Vec<String>, PluginError> {
        let (s_vlan, c_vlans) = self.pair(run)?;
        let last = c_vlans.last().ok_or(PluginError::OutOfRange)?;
        Ok(vec![format!("{s_vlan}.{}", IDS.write_run(c_vlans.start, last))])
    }

    fn attributes(&self, span: Span) -> Result<Vec<Attribute>, PluginError> {
        self.render(span)?;
        let tag = |key, id: u128| Attribute::new(key, id.to_string());
        Ok(vec![tag("s_vlan", span.start / STRIDE), tag("c_vlan", span.start % STRIDE)])
    }
}

nexus_plugin_sdk::export!(QinQ);

impl QinQ {
    fn spans(&self) -> Vec<Series> {
        let series = |outer: &Span, inner: &Span| Series {
            start: outer.start * STRIDE + inner.start,
            len: inner.len,
            stride: STRIDE,
            count: u64::try_from(outer.len).unwrap_or(u64::MAX), // there are 4,094 ids
        };
        let all = self
            .s_vlans
            .spans()
            .iter()
            .flat_map(|outer| self.c_vlans.spans().iter().map(move |inner| series(outer, inner)));
        all.collect()
    }

    /// The S-VLAN and the C-VLANs of a run of the pool.
    fn pair(&self, run: Span) -> Result<(u128, Span), PluginError> {
        let (s_vlan, c_vlans) = (run.start / STRIDE, Span::new(run.start % STRIDE, run.len));
        if self.s_vlans.contains(Span::unit(s_vlan)) && self.c_vlans.contains(c_vlans) {
            Ok((s_vlan, c_vlans))
        } else {
            Err(PluginError::OutOfRange)
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_plugin_conformance::{Profile, check_native};

    use super::*;

    #[test]
    fn it_conforms() {
        check_native::<QinQ>(Profile::Full).assert_passed();
    }

    #[test]
    fn the_hint_narrows_to_one_outer_tag() {
        let pool = QinQ::open(r#"{"s_vlans":"100-199","c_vlans":"10-99"}"#).unwrap();
        let plan = pool.interpret(&[Attribute::new("s_vlan", "150")]).unwrap();
        assert_eq!(plan.within, [Span::new(150 * 4096 + 10, 90)]);
        let refused = pool.interpret(&[Attribute::new("s_vlan", "200")]).unwrap_err();
        assert_eq!(refused.to_string(), "/s_vlan: 200 is not one of the pool's S-VLANs");
    }

    #[test]
    fn a_pool_without_outer_tags_is_refused() {
        let refused = QinQ::open(r#"{"s_vlan":"100"}"#).unwrap_err().to_string();
        assert!(refused.contains("/s_vlans: names no VLAN id"), "{refused}");
        assert!(refused.contains("did you mean \"s_vlans\"?"), "{refused}");
    }
}
