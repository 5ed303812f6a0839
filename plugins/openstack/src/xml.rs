//! Upstream's XML: attributes of one element, or texts of elements within elements.

use plugin_api::DelegateError;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// The attributes of the outermost element, by name.
pub(crate) fn attributes(text: &str) -> Result<Map<String, Value>, DelegateError> {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => return attributes_of(&element),
            Ok(Event::Eof) => return Err(unreadable("there is no element in it")),
            Ok(_) => {},
            Err(error) => return Err(unreadable(&error.to_string())),
        }
    }
}

fn attributes_of(element: &BytesStart<'_>) -> Result<Map<String, Value>, DelegateError> {
    let mut values = Map::new();
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| unreadable(&error.to_string()))?;
        let name = attribute.key.as_ref().to_owned();
        let value = quick_xml::escape::unescape(&attribute.value)
            .map_err(|_| unreadable("an entity is unknown"))?;
        values.insert(name, value.into_owned().into());
    }
    Ok(values)
}

/// The texts of the elements inside element `name`, by their names.
pub(crate) fn texts_in(text: &str, name: &str) -> Result<Map<String, Value>, DelegateError> {
    let mut reader = Reader::from_str(text);
    let mut values = Map::new();
    let mut path: Vec<String> = Vec::new();
    let mut is_found = false;
    loop {
        // What a parser quotes here may be a secret.
        let event = reader.read_event().map_err(|_| unreadable("it is not well-formed"))?;
        let is_inside = path.len() >= 2 && path[path.len() - 2] == name;
        match event {
            Event::Start(element) => {
                path.push(element.name().as_ref().to_owned());
                is_found |= path.last().is_some_and(|last| last == name);
            },
            Event::Empty(element) => is_found |= element.name().as_ref() == name,
            Event::End(_) => drop(path.pop()),
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if is_inside => {
                let piece = piece(&event).ok_or_else(|| unreadable("an entity is unknown"))?;
                let key = path.last().cloned().unwrap_or_default();
                let value = values.entry(key).or_insert_with(|| Value::String(String::new()));
                if let Value::String(text) = value {
                    text.push_str(&piece);
                }
            },
            Event::Eof if !path.is_empty() => return Err(unreadable("it ends too early")),
            Event::Eof if !is_found => return Err(unreadable(&format!("it has no `{name}`"))),
            Event::Eof => break,
            _ => {},
        }
    }
    for value in values.values_mut() {
        *value = value.as_str().unwrap_or_default().trim().into();
    }
    Ok(values)
}

fn piece(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Text(text) => Some(text.to_string()),
        Event::CData(text) => Some(text.to_string()),
        Event::GeneralRef(name) => {
            let entity = format!("&{};", &**name);
            Some(quick_xml::escape::unescape(&entity).ok()?.into_owned())
        },
        _ => None,
    }
}

fn unreadable(reason: &str) -> DelegateError {
    DelegateError::invalid_input("the XML cannot be read").because(reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn upstream_s_forms_are_read() {
        let provider = r#"<?xml version="1.0"?><p glance-host="a&amp;b" glance-port="9292"/>"#;
        let expected = json!({"glance-host": "a&b", "glance-port": "9292"});
        assert_eq!(Value::Object(attributes(provider).unwrap()), expected);
        let credentials = "<provider_credentials>\n <openstack_credentials>\n  <username> ada </username>
            <password>a&lt;b<![CDATA[<c>]]></password></openstack_credentials></provider_credentials>";
        let texts = texts_in(credentials, "openstack_credentials").unwrap();
        assert_eq!(Value::Object(texts), json!({"username": "ada", "password": "a<b<c>"}));
    }

    #[test]
    fn what_is_no_such_xml_is_refused_without_repeating_it() {
        for text in ["<a><swordfish>", "<a>&swordfish;</a>", "<a/>", "<b><a>"] {
            let error = texts_in(text, "openstack_credentials").unwrap_err();
            assert!(!format!("{error:?}").contains("swordfish"), "{error:?}");
        }
        attributes("nothing").unwrap_err();
    }
}
