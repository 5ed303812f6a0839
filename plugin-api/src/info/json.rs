//! Strict JSON: a key that is given twice is a problem, not a silent choice of the last one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::{InfoProblem, MAX_INFO_BYTES};

/// UTF-8's byte order mark, which JSON forbids and some editors write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses `bytes`; keys that occur twice are added to `duplicates` by their paths.
pub(super) fn parse(bytes: &[u8], duplicates: &mut Vec<String>) -> Result<Value, InfoProblem> {
    if bytes.len() > MAX_INFO_BYTES {
        return Err(whole_file(format!(
            "the file has {} bytes, more than {MAX_INFO_BYTES}",
            bytes.len()
        )));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(whole_file(
            "the file starts with a byte order mark; save it as UTF-8 without one",
        ));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        whole_file(format!("line {line} is no UTF-8"))
    })?;
    if text.trim().is_empty() {
        return Err(whole_file("the file is empty; expected a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Tree { duplicates }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| whole_file(format!("not valid JSON: {error}")))
}

fn whole_file(message: impl Into<String>) -> InfoProblem {
    InfoProblem { path: String::new(), message: message.into() }
}

/// Builds a [`Value`] and collects the paths of duplicate keys.
struct Tree<'a> {
    duplicates: &'a mut Vec<String>,
}

impl Tree<'_> {
    /// Reads what belongs to `segment`, whose path then leads every duplicate found inside.
    fn below<T>(
        &mut self,
        segment: impl FnOnce() -> String,
        read: impl FnOnce(Tree<'_>) -> T,
    ) -> T {
        let before = self.duplicates.len();
        let value = read(Tree { duplicates: self.duplicates });
        if let Some(found @ [_, ..]) = self.duplicates.get_mut(before..) {
            let segment = segment();
            for path in found {
                let dot = if path.starts_with('[') { "" } else { "." };
                *path = format!("{segment}{dot}{path}");
            }
        }
        value
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number.map_or_else(|| Err(E::custom("number out of range")), |number| Ok(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = {
            let index = list.len();
            self.below(|| format!("[{index}]"), |tree| elements.next_element_seed(tree))?
        } {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = self.below(|| key.clone(), |tree| entries.next_value_seed(tree))?;
            match object.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(value);
                },
                Entry::Occupied(taken) => self.duplicates.push(taken.key().clone()),
            }
        }
        Ok(Value::Object(object))
    }
}
