//! Bytes with their checksum before them, as small files hold them: what is damaged is not taken for what was written.

/// The content of a file that holds `body`.
pub fn sealed(body: &[u8]) -> Vec<u8> {
    let mut content = crc32c::crc32c(body).to_be_bytes().to_vec();
    content.extend(body);
    content
}

/// The body in the content of a file; `None` if it is damaged.
pub fn unsealed(content: &[u8]) -> Option<&[u8]> {
    let (crc, body) = content.split_first_chunk::<4>()?;
    (crc32c::crc32c(body) == u32::from_be_bytes(*crc)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_read_back_and_no_flipped_bit_passes() {
        let content = sealed(b"orders");
        assert_eq!(unsealed(&content), Some(&b"orders"[..]));
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unsealed(&flipped), None, "bit {bit}");
        }
        assert_eq!(unsealed(b""), None);
    }
}
