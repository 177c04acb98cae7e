//! What moves when a host comes, goes or changes its weight. The fair share of who comes or goes must move; the figures are
//! how many times that much did.

use super::*;

#[derive(Debug, Default)]
struct Figure {
    sum: f64,
    count: f64,
    worst: f64,
}

impl Figure {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
        self.worst = self.worst.max(value);
    }

    fn check(&self, what: &str, mean: f64, worst: f64) {
        let found = self.sum / self.count;
        println!("{what}: {found:.3} on average, {:.3} at worst", self.worst);
        assert!(found <= mean, "{what}: {found:.3} on average is more than {mean}");
        assert!(self.worst <= worst, "{what}: {:.3} at worst is more than {worst}", self.worst);
    }
}

/// What one member's coming or going moved, over its fair share: all, and between members that are there before and after.
#[derive(Debug, Default)]
struct Moves {
    all: Figure,
    between_others: Figure,
}

impl Moves {
    fn add(&mut self, without: &[MemberId], with: &[MemberId], who: MemberId, fair: f64) {
        let moved = without.iter().zip(with).filter(|(without, with)| without != with);
        let (all, others) = moved
            .fold((0.0, 0.0), |(all, others), (_, with)| (all + 1.0, others + if *with == who { 0.0 } else { 1.0 }));
        self.all.add(all / fair);
        self.between_others.add(others / fair);
    }
}

/// Each member in turn is taken away. Joining is the same the other way round.
fn without_each(weights: &[u32], count: u32, pools: u32) -> Moves {
    let (with, all) = (ring(weights), shards(count));
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut moves = Moves::default();
    for who in with.members() {
        let without = Ring::new(with.members().iter().copied().filter(|member| member != who), Ring::VIRTUAL_NODES);
        #[allow(clippy::cast_precision_loss, reason = "a small number")]
        let fair = f64::from(count) * f64::from(who.weight) / total as f64;
        for pool in 0..pools {
            moves.add(&place(&without, pool, &all), &place(&with, pool, &all), who.id, fair);
        }
    }
    moves
}

/// 1.30 is what these 10 pools stay below. It is no law: over 50 pools of 1,024 shards on 20 hosts the worst of 1,000 leaves
/// is 1.31, and where a host has but 10 shards of its own (1,024 on 100 hosts) it is 2.05, with 1.26 on average.
#[test]
fn a_host_that_comes_or_goes_moves_little_more_than_its_share() {
    for hosts in 2..=20 {
        let moves = without_each(&vec![1; hosts], 1_000, 10);
        moves.all.check(&format!("{hosts} hosts"), 1.10, 1.30);
        moves.between_others.check(&format!("{hosts} hosts, between the others"), 0.10, 0.20);
    }
}

#[test]
fn with_many_shards_a_host_each_moves_hardly_more_than_its_share() {
    for hosts in [2, 3, 5] {
        let moves = without_each(&vec![1; hosts], 8_192, 3);
        moves.all.check(&format!("{hosts} hosts"), 1.02, 1.10);
        moves.between_others.check(&format!("{hosts} hosts, between the others"), 0.01, 0.02);
    }
}

#[test]
fn weights_do_not_make_more_move() {
    for weights in [&[1, 2, 3][..], &[1, 1, 1, 4, 4], &[2, 3, 2, 3, 2, 3, 2, 3, 2, 3]] {
        let moves = without_each(weights, 1_000, 10);
        moves.all.check(&format!("weights {weights:?}"), 1.10, 1.30);
    }
}

#[test]
fn a_larger_weight_moves_shards_to_its_host_and_few_elsewhere() {
    let all = shards(1_000);
    let (before, after) = (ring(&[2, 2, 2]), ring(&[2, 2, 3]));
    let (mut gained, mut elsewhere) = (Figure::default(), Figure::default());
    for pool in 0..50 {
        let (from, to) = (place(&before, pool, &all), place(&after, pool, &all));
        let moved = from.iter().zip(&to).filter(|(from, to)| from != to);
        let (came, went): (Vec<_>, Vec<_>) = moved.partition(|(_, to)| to.0 == 3);
        // Its fair share grows from 333 to 429.
        let grows = 1_000.0 * (3.0 / 7.0 - 1.0 / 3.0);
        gained.add(f64::from(u32::try_from(came.len()).unwrap()) / grows);
        elsewhere.add(f64::from(u32::try_from(went.len()).unwrap()) / grows);
    }
    gained.check("to the larger host", 1.10, 1.35);
    elsewhere.check("elsewhere", 0.06, 0.25);
}
