//! The gate that every change passes: each target over its seeds, their truncations and 20,000 mutations.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use wasmtx_fuzz::{Mutator, TARGETS, Target};

const MUTATIONS: usize = 20_000;

/// Runs one input; names it when an oracle breaks, so that it can be kept as a seed.
fn run(target: &Target, data: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(data))) {
        eprintln!("target {} broke on b\"{}\"", target.name, data.escape_ascii());
        resume_unwind(panic);
    }
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let seeds = target
        .seeds()
        .unwrap_or_else(|error| panic!("{}: {error}", target.corpus().display()));
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    seeds.into_iter().map(|(_, seed)| seed).collect()
}

/// One thread per target: they share nothing.
fn for_each_target(check: impl Fn(&Target) + Sync) {
    std::thread::scope(|scope| {
        for target in TARGETS {
            let check = &check;
            scope.spawn(move || check(target));
        }
    });
}

#[test]
fn every_target_holds_for_its_seeds_and_all_their_truncations() {
    for_each_target(|target| {
        for seed in seeds(target) {
            for end in 0..=seed.len() {
                run(target, &seed[..end]);
            }
        }
    });
}

#[test]
fn every_target_holds_for_twenty_thousand_mutations() {
    for_each_target(|target| {
        let seeds = seeds(target);
        let mut mutator = Mutator::new(26);
        for _ in 0..MUTATIONS {
            run(target, &mutator.next(&seeds));
        }
    });
}

#[test]
fn target_names_are_unlike_each_other_and_every_corpus_has_a_target() {
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    names.sort();
    let corpus = TARGETS[0].corpus();
    let folders = std::fs::read_dir(corpus.parent().unwrap()).unwrap();
    let mut folders: Vec<_> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(names, folders);
}
