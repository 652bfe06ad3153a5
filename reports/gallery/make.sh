#!/bin/sh
# Makes the pages of this gallery again; run it from the root of the repository. It takes some minutes on two cores.
set -e
cargo build --release
wavetank=target/release/wavetank
gallery=reports/gallery
work=target/gallery
rm -rf "$work" "$gallery/finding.toml"

# One sweep. It ends with exit code 1: a historical bug is switched on, and found.
$wavetank sweep scenarios/rejoin-and-fail.toml --seeds 1..41 --set 'bugs=["K01"]' \
    --out "$work/sweep" --html "$gallery/sweep.html" || test $? = 1

# One finding of it, made small, and the page of its run (exit code 1 again).
$wavetank shrink scenarios/rejoin-and-fail.toml --seed 2 --set 'bugs=["K01"]' --out "$gallery/finding.toml"
$wavetank run "$gallery/finding.toml" --html "$gallery/finding.html" || test $? = 1

# One comparison.
$wavetank compare scenarios/clickstream.toml --by systems.broker.brokers=3,5 --seeds 1..31 --set acts.stir=40s \
    --out "$work/compare" --html "$gallery/comparison.html"

# Strategies of experiments against each other, by the same users; and without a platform against platforms.
$wavetank compare scenarios/experiments/bandits.toml --html "$gallery/strategies.html"
$wavetank compare scenarios/experiments/both.toml --platform scenarios/decisions-calm.toml \
    --platform scenarios/decisions-high.toml --seeds 1..41 --out "$work/platforms" --html "$gallery/platforms.html"
