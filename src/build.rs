//! Collects the names of all properties from the sources, so that a scenario file which names one that does not exist is refused
//! with the nearest name that does. A list kept by hand would rot.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script runs outside the tank and reads the sources themselves"
)]

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files)?;
    files.sort();
    let (mut properties, mut events) = (String::from("&[\n"), String::from("&[\n"));
    for file in files {
        let source = fs::read_to_string(&file)?;
        // Unit tests stand last in a file; documentation shows the macros' use and declares nothing.
        let production = source.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<&str> =
            production.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        for name in names_in(&code, &["always!(", "sometimes!(", "reached!("]) {
            properties.push_str(&format!("    ({name:?}, {:?}),\n", file.display().to_string()));
        }
        for name in names_in(&code, &["sometimes!(", "reached!("]) {
            events.push_str(&format!("    {name:?},\n"));
        }
    }
    let target = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(target.join("properties.rs"), properties + "]")?;
    fs::write(target.join("events.rs"), events + "]")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("build.rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The names that calls of these macros declare in a source text.
fn names_in(source: &str, calls: &[&str]) -> Vec<String> {
    calls
        .iter()
        .flat_map(|call| source.match_indices(call))
        .filter_map(|(at, _)| first_literal(&source[at..]))
        .collect()
}

/// The first string literal that is an argument of the call itself, not of something within its condition.
fn first_literal(call: &str) -> Option<String> {
    let mut depth = 0;
    let mut characters = call.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '"' => {
                let text: String = call[at + 1..].chars().take_while(|c| *c != '"').collect();
                if depth == 1 {
                    return Some(text);
                }
                characters.by_ref().take(text.chars().count() + 1).for_each(drop);
            }
            _ => {}
        }
        if depth == 0 && character == ')' {
            return None;
        }
    }
    None
}
