use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// The content of one object to create: a list of buffers that are written one after the other.
///
/// Cloning shares the buffers, so a retry costs no copy. A caller that has a header, frames and a
/// footer hands them over as they are: `Payload::from(vec![header, frame, footer])`.
#[derive(Clone, Default)]
pub struct Payload {
    chunks: Arc<[Bytes]>,
    len: u64,
}

impl Payload {
    /// The number of bytes in all buffers together.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the object will be empty. An empty object is an object like any other.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The buffers, in the order in which they are written.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.chunks.iter()
    }

    /// The content as one buffer: shared when there is one buffer, copied when there are more.
    pub fn to_bytes(&self) -> Bytes {
        match &*self.chunks {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                for chunk in many {
                    all.extend_from_slice(chunk);
                }
                all.freeze()
            }
        }
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into(), len }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        vec![bytes].into()
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        chunks.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a Payload {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Shows sizes only: objects are large, and may be what a log must not hold.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("len", &self.len)
            .field("chunks", &self.chunks.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_content_cover_all_buffers() {
        let payload = Payload::from(vec![Bytes::from("ab"), Bytes::new(), Bytes::from("c")]);
        assert_eq!(payload.len(), 3);
        assert_eq!(payload.to_bytes(), "abc");
        assert!(Payload::default().is_empty());
        assert_eq!(Payload::default().to_bytes(), "");
    }
}
