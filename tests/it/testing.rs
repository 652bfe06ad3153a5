//! Property tests of scenarios, as a user writes them.

use std::panic::catch_unwind;
use std::path::Path;

use wavetank::testing::Property;

fn storm() -> Property {
    Property::of(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/coordination-storm.toml"))
}

#[test]
fn a_scenario_that_keeps_its_promises_holds() {
    storm().set("acts.stir=3s").storms(3).holds();
}

#[test]
fn of_one_that_does_not_the_smallest_storm_is_told() {
    let broken = storm().set("acts.stir=6s").set("bugs=[\"Z12\"]").storms(20);
    let panic = catch_unwind(|| broken.holds()).expect_err("the bug is found");
    let told = panic.downcast_ref::<String>().expect("it is told in words");
    assert!(told.contains("VIOLATED") && told.contains("To see it again"), "{told}");
    assert!(told.matches("[[faults]]").count() <= 2, "{told}");
}
