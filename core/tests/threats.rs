//! Every threat of RFC 9124 and every attack that is listed has its property, its code and its test in `ota/THREATS.md`.

use std::path::Path;

/// RFC 9124 §4.2.1 to §4.2.18.
const RFC9124: [&str; 18] = [
    "IMG.EXPIRED",
    "IMG.EXPIRED.OFFLINE",
    "IMG.INCOMPATIBLE",
    "IMG.FORMAT",
    "IMG.LOCATION",
    "NET.REDIRECT",
    "NET.ONPATH",
    "IMG.REPLACE",
    "IMG.NON_AUTH",
    "UPD.WRONG_PRECURSOR",
    "UPD.UNAPPROVED",
    "IMG.DISCLOSURE",
    "MFST.OVERRIDE",
    "MFST.EXPOSURE",
    "IMG.EXTRA",
    "KEY.EXPOSURE",
    "MFST.MODIFICATION",
    "MFST.TOCTOU",
];

const ATTACKS: [&str; 13] = [
    "rollback",
    "freeze",
    "fast-forward",
    "mix-and-match",
    "endless data",
    "slow retrieval",
    "wrong target",
    "redirect",
    "extra data",
    "change between check and activation",
    "signature malleability",
    "parser differential",
    "report spoofing",
];

/// What waft leaves to others, and says so.
const LEFT: [&str; 2] = ["THREAT.IMG.DISCLOSURE", "THREAT.MFST.EXPOSURE"];

#[test]
fn every_threat_has_its_property_its_code_and_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("core/src/ota/THREATS.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|row: &Vec<&str>| !matches!(row[0], "threat" | "attack"))
        .collect();
    for name in RFC9124.iter().map(|name| format!("THREAT.{name}")).chain(ATTACKS.map(str::to_owned)) {
        assert_eq!(rows.iter().filter(|row| row[0] == name).count(), 1, "{name}");
    }
    for row in rows {
        let [name, property, code, test] = row[..] else { panic!("{row:?}") };
        if property.starts_with('—') {
            assert!(LEFT.contains(&name) && property.len() > 20, "{name} is left open");
            continue;
        }
        let code = code.trim_matches('`');
        assert!(root.join(code).is_file(), "{name}: there is no {code}");
        let (file, function) = test.trim_matches('`').split_once("::").unwrap();
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("{name}: there is no {file}"));
        let (before, _) = source
            .split_once(&format!("fn {function}("))
            .unwrap_or_else(|| panic!("{name}: {file} has no test {function}"));
        assert!(before.trim_end().ends_with("#[test]"), "{name}: {function} is no test");
    }
}
