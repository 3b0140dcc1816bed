//! `c-include/waft.h` is what the sources say; `make header` writes it anew.

use std::{fmt::Write, fs, path::Path};
use waft::{Capacity, Code, Misuse, coap, mqtt, ota::refusal::Refusal};

/// `WrongState` as C writes it: `WAFT_ERROR_WRONG_STATE`.
fn constant(group: &str, name: &str) -> String {
    let mut text = format!("WAFT_ERROR{group}");
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && !before.is_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
        before = c;
    }
    text
}

/// The numbers of all errors, from the enums that define them.
fn errors() -> String {
    let mut text = String::new();
    let mut group = |title: &str, prefix: &str, errors: &[(&str, i32, String)]| {
        writeln!(text, "\n/** @name {title}\n *  @{{ */").unwrap();
        for (name, code, message) in errors {
            writeln!(text, "/** {message} */\n#define {} ({code})", constant(prefix, name)).unwrap();
        }
        writeln!(text, "/** @}} */").unwrap();
    };
    macro_rules! group {
        ($title:literal, $prefix:literal, $error:ty) => {
            group(
                $title,
                $prefix,
                &<$error>::ALL.iter().map(|e| (e.name(), e.code(), e.to_string())).collect::<Vec<_>>(),
            );
        };
    }
    group!("You called it wrongly; nothing changed.", "", Misuse);
    group!("Storage is full; nothing changed, and the same call may succeed later.", "", Capacity);
    group!("The peer broke MQTT; the connection is to be closed.", "_MQTT", mqtt::Violation);
    group!("No CoAP message. Such datagrams are dropped and counted.", "_COAP", coap::Violation);
    group!("Why an update is refused or has failed.", "_UPDATE", Refusal);
    text
}

fn generate() -> String {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(crate_dir.join("cbindgen.toml")).unwrap();
    config.after_includes = Some(format!(
        "{}\n/** The version that this header belongs to: see waft_version(). */\n#define WAFT_VERSION UINT32_C(0x{:08x})\n\n\
         /** Done. */\n#define WAFT_OK (0)\n{}",
        config.after_includes.take().unwrap_or_default(),
        waft_ffi::error::VERSION,
        errors(),
    ));
    let mut bytes = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_crate(crate_dir)
        .generate()
        .expect("cbindgen reads the sources")
        .write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../c-include/waft.h");
    let generated = generate();
    if std::env::var_os("WAFT_HEADER").is_some_and(|v| v == "write") {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "c-include/waft.h is stale: run `make header` and commit it");
}
