//! A ring of symmetric keys as a setting writes it: `id:base64 of 32 bytes[,id2:…]`.
//!
//! Deliberately absent: what the keys are used for. Nothing here prints a key; an error says which entry is wrong and not
//! what it says.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Deserializer};

/// One key with the id by which what it made can be recognised after a rotation.
pub struct Key {
    /// Written beside everything that the key made: letters, digits, `-` and `_`.
    pub id: String,
    /// The key.
    pub bytes: SecretBox<[u8; 32]>,
}

/// At least one key, with distinct ids. The first one makes, all of them verify or open.
#[derive(Clone)]
pub struct KeyRing {
    written: SecretString,
    keys: Arc<[Key]>,
}

impl KeyRing {
    /// Reads `id:base64 of 32 bytes[,id2:…]`.
    ///
    /// # Errors
    /// Which entry is wrong and why, without the entry itself.
    pub fn parse(written: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, entry) in written.split(',').enumerate() {
            let number = index + 1;
            let (id, encoded) =
                entry.trim().split_once(':').ok_or_else(|| format!("key {number} is not id:base64 of 32 bytes"))?;
            if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
                return Err(format!("the id of key {number} must be letters, digits, - or _"));
            }
            if !ids.insert(id) {
                return Err(format!("key {number} repeats the id of an earlier one"));
            }
            let bytes = STANDARD.decode(encoded).map_err(|_| format!("key {number} is not base64"))?;
            let bytes: Box<[u8; 32]> = bytes
                .into_boxed_slice()
                .try_into()
                .map_err(|bytes: Box<[u8]>| format!("key {number} has {} bytes instead of 32", bytes.len()))?;
            keys.push(Key { id: id.to_owned(), bytes: SecretBox::new(bytes) });
        }
        Ok(Self { written: SecretString::from(written), keys: keys.into() })
    }

    /// All keys; never empty, the one that makes first.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The ring as the setting wrote it.
    #[must_use]
    pub fn written(&self) -> &SecretString {
        &self.written
    }

    /// Each key as the setting wrote it: its id and its base64 text.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, SecretString)> {
        let entries = self.written.expose_secret().split(',');
        let pairs = entries.filter_map(|entry| entry.trim().split_once(':'));
        pairs.map(|(id, encoded)| (id.to_owned(), SecretString::from(encoded))).collect()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}

impl<'de> Deserialize<'de> for KeyRing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const ONES: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWOS: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn a_ring_keeps_its_order() {
        let ring = KeyRing::parse(&format!("new:{ONES}, old:{TWOS}")).unwrap();
        let read: Vec<_> = ring.keys().iter().map(|key| (key.id.as_str(), key.bytes.expose_secret()[0])).collect();
        assert_eq!(read, [("new", 1), ("old", 2)]);
    }

    #[test]
    fn a_wrong_entry_is_named_and_not_printed() {
        for (written, expected) in [
            (format!("k1:{ONES},"), "key 2 is not id:base64"),
            (format!("k1:{ONES},{TWOS}"), "key 2 is not id:base64"),
            (format!(":{ONES}"), "the id of key 1"),
            (format!("k1:{ONES},k1:{TWOS}"), "key 2 repeats"),
            ("k1:geheim!".to_owned(), "key 1 is not base64"),
            ("k1:c2hvcnQ=".to_owned(), "key 1 has 5 bytes"),
            ("k1:".to_owned(), "key 1 has 0 bytes"),
        ] {
            let said = KeyRing::parse(&written).unwrap_err();
            assert!(said.starts_with(expected), "{said}");
            assert!(!said.contains("geheim") && !said.contains(TWOS));
        }
    }

    #[test]
    fn debug_prints_ids_only() {
        let printed = format!("{:?}", KeyRing::parse(&format!("k1:{ONES}")).unwrap());
        assert_eq!(printed, r#"[Key { id: "k1", .. }]"#);
    }
}
