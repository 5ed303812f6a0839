//! The name that somebody probably meant.

/// Names less alike than this are no suggestion (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// The one of `names` that is most like `given`, if any is alike.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&given, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
