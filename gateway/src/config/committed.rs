//! Generated documents, checked where they are committed. Tests only.

use std::fs;
use std::path::Path;

/// Fails unless `docs/NAME` holds `text`; with `FILATURE_BLESS=1`, writes it.
pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("FILATURE_BLESS").is_some() {
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/{name} is not current: run the tests with FILATURE_BLESS=1"
    );
}
