//! What nft takes as a comment.

/// nft takes comments of up to 127 bytes.
pub(super) const LONGEST_COMMENT: usize = 127;

/// Cuts a comment to what there is room for, so that what is wanted can be what is there.
pub(super) fn clip(text: &str, longest: usize) -> String {
    text[..text.floor_char_boundary(longest)].to_owned()
}
