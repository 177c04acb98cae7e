//! A new host takes over what another one's disk says, and has it on its own.

#[path = "support/takeover.rs"]
mod takeover;

use takeover::giver_and_newcomer;

#[test]
fn a_new_host_has_on_its_disk_what_the_giver_had_on_its() {
    let (giver, mut newcomer) = giver_and_newcomer(3_000);
    assert!(newcomer.take_over(&giver) > 2);
    assert_eq!(newcomer.kernel.digest(), giver.kernel.digest());
    assert_eq!(newcomer.kernel.heard().keys().collect::<Vec<_>>(), [&giver.origin]);
    let known = (giver.kernel.digest(), 3_000);
    assert_eq!(newcomer.restarted(), known);
    assert_eq!(giver.restarted(), known);
}
