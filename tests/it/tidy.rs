//! The house rules that no compiler checks: which way imports point, and that names of properties are unique.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layers, bottom-up, as `src/lib.rs` lists them.
fn layers() -> Vec<String> {
    declared_modules(&read(Path::new("src/lib.rs")))
}

fn declared_modules(source: &str) -> Vec<String> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the rules are about files of this repository")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("a source file is readable")
}

/// All source files under `src`, as paths from the root of the repository.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a source folder is readable") {
            let path = entry.expect("a source folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root).expect("it lies under the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// What stands before the unit tests of a file.
fn production(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or(source)
}

fn layer_of(path: &Path) -> String {
    let below = path.strip_prefix("src").expect("a source file");
    let first = below.iter().next().expect("it has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The names that follow `crate::` in a source text.
fn imported(source: &str, prefix: &str) -> Vec<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    source
        .match_indices(prefix)
        .map(|(at, _)| name(&source[at + prefix.len()..]))
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_point_downward() {
    let layers = layers();
    assert!(layers.contains(&"world".to_owned()), "the layers were found: {layers:?}");
    let rank = |name: &str| layers.iter().position(|layer| layer == name);
    let mut wrong = Vec::new();
    for path in sources() {
        let Some(own) = rank(&layer_of(&path)) else { continue };
        for name in imported(production(&read(&path)), "crate::") {
            if rank(&name).is_some_and(|other| own < other) {
                wrong.push(format!("{} names crate::{name}, a layer above its own", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_system_knows_only_the_systems_below_it_and_only_their_front() {
    let systems = declared_modules(&read(Path::new("src/systems/mod.rs")));
    let rank = |name: &str| systems.iter().position(|system| system == name);
    let mut wrong = Vec::new();
    for path in sources().into_iter().filter(|path| path.starts_with("src/systems")) {
        let Some(own) = path.iter().nth(2).and_then(|name| rank(&name.to_string_lossy())) else { continue };
        let source = read(&path);
        for name in imported(production(&source), "crate::systems::") {
            let Some(other) = rank(&name) else { continue };
            let front = imported(production(&source), &format!("crate::systems::{name}::"));
            let deep = front.iter().any(|inner| inner != "api");
            if own < other || (own != other && deep) {
                wrong.push(format!("{} names crate::systems::{name} beyond its api", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_world_names_madsim() {
    for path in sources().into_iter().filter(|path| !path.starts_with("src/world")) {
        assert!(!read(&path).contains("madsim::"), "{} names madsim", path.display());
    }
}

#[test]
fn every_file_says_what_it_is() {
    for path in sources() {
        assert!(read(&path).starts_with("//! "), "{} opens without a `//!` header", path.display());
    }
}

#[test]
fn names_of_properties_are_unique() {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, file) in wavetank::world::property::ALL {
        places.entry(name).or_default().push(file);
    }
    places.retain(|_, files| 1 < files.len());
    assert!(places.is_empty(), "names that stand at several places: {places:#?}");
}

#[test]
fn every_cooperative_point_is_listed_and_stands_where_the_list_says() {
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    wavetank::systems::sites::ALL.iter().for_each(|site| *names.entry(site.to_string()).or_default() += 1);
    names.retain(|_, count| 1 < *count);
    assert!(names.is_empty(), "names that stand for several sites: {names:?}");
    let mut listed: BTreeMap<String, &str> = BTreeMap::new();
    let list = read(Path::new("src/systems/sites.rs"));
    for site in wavetank::systems::sites::ALL {
        let line = list.lines().find(|line| line.contains(&format!(": \"{}\",", site.name)));
        let (constant, _) = line.and_then(|line| line.trim().split_once(':')).expect("the list names it");
        listed.insert(constant.to_owned(), site.system);
    }
    let mut places: BTreeMap<String, u32> = BTreeMap::new();
    for path in sources() {
        let source = production(&read(&path)).to_owned();
        let makes_sites = path.ends_with("sites.rs") || path.ends_with("cooperation.rs");
        assert!(makes_sites || !source.contains("Site::listed"), "{} has a site of its own", path.display());
        for constant in imported(&source, "&sites::") {
            let system = listed.get(&constant).copied().unwrap_or("no system");
            assert!(
                path.starts_with(format!("src/systems/{system}")),
                "{constant} stands in {}",
                path.display()
            );
            *places.entry(constant).or_default() += 1;
        }
    }
    let once = listed.keys().map(|constant| (constant.clone(), 1)).collect::<BTreeMap<_, _>>();
    assert_eq!(places, once, "each site stands at one place");
}

#[test]
fn unfinished_work_is_not_left_in_the_source() {
    for path in sources() {
        let source = read(&path);
        for word in
            ["todo!(", "unimplemented!(", "FIXME", "XXX", "dbg!(", "#[allow(", "#[ignore", ".unwrap()"]
        {
            assert!(!production(&source).contains(word), "{} holds `{word}`", path.display());
        }
    }
}

#[test]
fn what_clippy_cannot_ban_stands_only_where_it_is_tamed() {
    // Tokio's watch wakes its waiters in a random order of its own.
    for path in sources() {
        let source = read(&path);
        let imports = source.lines().filter(|line| line.starts_with("use tokio::sync"));
        let watch = imports.filter(|line| line.contains("watch")).count();
        assert_eq!(watch, 0, "{} uses tokio::sync::watch: use world::watch", path.display());
    }
    // Unbiased `select!` differs under one seed; state of a thread outlives a run.
    for (word, home) in [("tokio::select!", "src/world/mod.rs"), ("thread_local!", "src/world/property.rs")] {
        for path in sources().into_iter().filter(|path| !path.ends_with(home)) {
            assert!(!production(&read(&path)).contains(word), "{} holds `{word}`", path.display());
        }
    }
}

#[test]
fn messages_are_listed_as_their_systems_name_them() {
    for (system, names) in wavetank::systems::messages::MESSAGES {
        let folder = if *system == "connections" {
            "src/world/network".to_owned()
        } else {
            format!("src/systems/{system}")
        };
        let within = sources().into_iter().filter(|path| path.starts_with(&folder));
        let text: String = within.map(|path| production(&read(&path)).to_owned()).collect();
        for name in *names {
            assert!(text.contains(&format!("\"{name}\"")), "{system} sends no message called {name}");
        }
    }
}
