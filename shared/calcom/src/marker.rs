//! The marker in a booking's metadata that says which segment of ours it was made for, and proves that we wrote it.
//!
//! `gateway_key` is the segment's lineage, `gateway_mac` is `<key id>:<hex HMAC-SHA256>` over company and lineage. Anyone
//! can make public bookings with any metadata, so a marker without a valid MAC is no marker. It names the segment, never
//! the operation: Cal.com copies metadata when it reschedules. Deliberately absent: anything personal, and any time.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use uuid::Uuid;

/// The metadata key that holds the lineage.
pub(crate) const KEY_FIELD: &str = "gateway_key";
/// The metadata key that holds the MAC.
pub(crate) const MAC_FIELD: &str = "gateway_mac";

/// Sets this MAC apart from whatever else might be signed with the same key. What follows it has a fixed length.
const DOMAIN: &[u8] = b"askpro-gateway/calcom-marker/v1\0";

const SECRET_BYTES_MIN: usize = 16;
const ID_CHARACTERS_MAX: usize = 32;

/// What goes into the metadata of a new booking; both values are strings, as Cal.com wants them.
#[derive(Clone, PartialEq, Eq)]
pub struct Marker {
    /// The lineage, hyphenated.
    pub key: String,
    /// `<key id>:<64 lower-case hex digits>`.
    pub mac: String,
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marker").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Keys that cannot be used. The text holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerKeysError {
    /// There is nothing to sign with.
    #[error("no marker key is configured")]
    None,
    /// An id that could not be told from the MAC, or is too long.
    #[error("the id of marker key {number} must be 1 to 32 letters, digits, - or _")]
    Id {
        /// Which one, counted from 1.
        number: usize,
    },
    /// Two keys with one id.
    #[error("marker key {number} repeats the id of an earlier one")]
    Repeated {
        /// Which one, counted from 1.
        number: usize,
    },
    /// A secret that could be guessed.
    #[error("marker key {number} is shorter than 16 bytes")]
    Short {
        /// Which one, counted from 1.
        number: usize,
    },
}

/// The keys of the marker: the first signs, all of them verify. For a rotation put the new one in front, and remove the
/// old one when no booking that it signed can still be moved.
#[derive(Clone)]
pub struct MarkerKeys(Arc<[SigningKey]>);

struct SigningKey {
    id: String,
    keyed: Hmac<Sha256>,
}

impl MarkerKeys {
    /// Takes pairs of id and secret; the bytes of the secret are the HMAC key.
    ///
    /// # Errors
    /// No key at all, an id that is empty, too long, repeated or not of `[A-Za-z0-9_-]`, a secret under 16 bytes.
    pub fn new(keys: Vec<(String, SecretString)>) -> Result<Self, MarkerKeysError> {
        let mut ready: Vec<SigningKey> = Vec::with_capacity(keys.len());
        for (index, (id, secret)) in keys.into_iter().enumerate() {
            let number = index + 1;
            let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            if id.is_empty() || id.len() > ID_CHARACTERS_MAX || !plain {
                return Err(MarkerKeysError::Id { number });
            }
            if ready.iter().any(|earlier| earlier.id == id) {
                return Err(MarkerKeysError::Repeated { number });
            }
            let secret = secret.expose_secret().as_bytes();
            if secret.len() < SECRET_BYTES_MIN {
                return Err(MarkerKeysError::Short { number });
            }
            // HMAC takes a key of any length; the error exists for other MACs.
            let keyed = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| MarkerKeysError::Short { number })?;
            ready.push(SigningKey { id, keyed });
        }
        if ready.is_empty() { Err(MarkerKeysError::None) } else { Ok(Self(ready.into())) }
    }

    /// The marker of a segment's lineage, made with the first key.
    #[must_use]
    pub fn sign(&self, company: i32, lineage: Uuid) -> Marker {
        let key = lineage.hyphenated().to_string();
        let mac = self.0.first().map_or_else(String::new, |signing| {
            format!("{}:{}", signing.id, hex::encode(signing.over(company, lineage).finalize().into_bytes()))
        });
        Marker { key, mac }
    }

    /// The lineage that `key` names, if `mac` is ours for this company. The MAC is compared in constant time.
    #[must_use]
    pub fn verify(&self, company: i32, key: &str, mac: &str) -> Option<Uuid> {
        let lineage = Uuid::try_parse(key).ok().filter(|uuid| uuid.hyphenated().to_string() == key)?;
        let (id, digest) = mac.split_once(':')?;
        let signing = self.0.iter().find(|signing| signing.id == id)?;
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(digest, &mut bytes).ok()?;
        signing.over(company, lineage).verify_slice(&bytes).ok().map(|()| lineage)
    }
}

impl SigningKey {
    fn over(&self, company: i32, lineage: Uuid) -> Hmac<Sha256> {
        self.keyed.clone().chain_update(DOMAIN).chain_update(company.to_be_bytes()).chain_update(lineage.as_bytes())
    }
}

impl fmt::Debug for MarkerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|signing| &signing.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAGE: Uuid = Uuid::from_u128(0x0190_f5a2_7c3e_7b11_8a4d_5e6f_7081_92a3);

    fn keys(pairs: &[(&str, &str)]) -> MarkerKeys {
        MarkerKeys::new(pairs.iter().map(|(id, secret)| ((*id).to_owned(), SecretString::from(*secret))).collect())
            .unwrap()
    }

    fn one() -> MarkerKeys {
        keys(&[("k1", "0123456789abcdef0123456789abcdef")])
    }

    #[test]
    fn vectors() {
        // Computed with Python: hmac.new(key, b"askpro-gateway/calcom-marker/v1\0" + company.to_bytes(4, "big",
        // signed=True) + uuid.bytes, "sha256").
        for (company, mac) in [
            (7, "237503462cb1a0a7454ede6774487c5ac5c329b3a2734ba159013273e66d09e5"),
            (-1, "c3c5504159b85f3825d49b1f7a649f04cbd9321464855d1aa0e79fa5813b052f"),
        ] {
            let marker = one().sign(company, LINEAGE);
            assert_eq!(marker.key, "0190f5a2-7c3e-7b11-8a4d-5e6f708192a3");
            assert_eq!(marker.mac, format!("k1:{mac}"));
            assert_eq!(one().verify(company, &marker.key, &marker.mac), Some(LINEAGE));
        }
    }

    #[test]
    fn nothing_but_our_own_marker_is_one() {
        let Marker { key, mac } = one().sign(7, LINEAGE);
        let digest = mac.strip_prefix("k1:").unwrap();
        assert_eq!(one().verify(8, &key, &mac), None, "another company's");
        assert_eq!(one().verify(7, "0190f5a2-7c3e-7b11-8a4d-5e6f708192a4", &mac), None, "another lineage");
        assert_eq!(one().verify(7, &key.to_uppercase(), &mac), None, "a lineage written otherwise");
        assert_eq!(one().verify(7, &key.replace('-', ""), &mac), None, "a lineage written otherwise");
        for forged in ["", ":", "k1", "k1:", digest, &format!("k2:{digest}"), &format!("k1:{digest}00"), "k1:00"] {
            assert_eq!(one().verify(7, &key, forged), None, "{forged:?}");
        }
        for position in 0..digest.len() {
            let mut flipped = digest.as_bytes().to_vec();
            flipped[position] = if flipped[position] == b'0' { b'1' } else { b'0' };
            let flipped = String::from_utf8(flipped).unwrap();
            assert_eq!(one().verify(7, &key, &format!("k1:{flipped}")), None, "digit {position}");
        }
        let others = keys(&[("k1", "ffffffffffffffffffffffffffffffff")]);
        assert_eq!(others.verify(7, &key, &mac), None, "another secret");
    }

    #[test]
    fn the_first_signs_and_all_verify() {
        let rotated = keys(&[("k2", "fedcba9876543210fedcba9876543210"), ("k1", "0123456789abcdef0123456789abcdef")]);
        let old = one().sign(7, LINEAGE);
        let new = rotated.sign(7, LINEAGE);
        assert!(new.mac.starts_with("k2:"));
        assert_eq!(rotated.verify(7, &old.key, &old.mac), Some(LINEAGE));
        assert_eq!(rotated.verify(7, &new.key, &new.mac), Some(LINEAGE));
        assert_eq!(one().verify(7, &new.key, &new.mac), None);
    }

    #[test]
    fn fits_into_metadata() {
        let longest = "x".repeat(ID_CHARACTERS_MAX);
        let marker = keys(&[(&longest, "0123456789abcdef")]).sign(i32::MIN, Uuid::max());
        assert!(KEY_FIELD.len() <= 40 && MAC_FIELD.len() <= 40);
        assert!(marker.key.len() <= 500 && marker.mac.len() <= 500);
    }

    #[test]
    fn bad_keys_are_refused_and_none_is_shown() {
        let new = |pairs: &[(&str, &str)]| {
            MarkerKeys::new(pairs.iter().map(|(id, secret)| ((*id).to_owned(), SecretString::from(*secret))).collect())
        };
        let good = "0123456789abcdef";
        assert_eq!(new(&[]).unwrap_err(), MarkerKeysError::None);
        assert_eq!(new(&[("", good)]).unwrap_err(), MarkerKeysError::Id { number: 1 });
        assert_eq!(new(&[("a:b", good)]).unwrap_err(), MarkerKeysError::Id { number: 1 });
        assert_eq!(new(&[("a", good), ("a", good)]).unwrap_err(), MarkerKeysError::Repeated { number: 2 });
        assert_eq!(new(&[("a", good), ("b", "short")]).unwrap_err(), MarkerKeysError::Short { number: 2 });
        let shown = format!("{:?} {:?}", one(), one().sign(7, LINEAGE));
        assert_eq!(shown, r#"["k1"] Marker { key: "0190f5a2-7c3e-7b11-8a4d-5e6f708192a3", .. }"#);
    }
}
