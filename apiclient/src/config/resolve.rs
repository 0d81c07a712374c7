//! From the fields of a kubeconfig, or from files, to what they hold.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{AccessError, Pem};

/// No certificate, key or token is larger.
const LARGEST: u64 = 4 << 20;

pub fn read_pem(path: &Path) -> Result<Pem, AccessError> {
    let text = read(path)?;
    if text.trim_ascii().is_empty() {
        return Err(AccessError::credentials(path.display().to_string(), "it is empty"));
    }
    Ok(Pem { origin: path.display().to_string(), text })
}

/// A token may end in blanks and ends of lines.
pub fn read_token(path: &Path) -> Result<String, AccessError> {
    let failed = |problem: &str| AccessError::credentials(path.display().to_string(), problem);
    let text = String::from_utf8(read(path)?).map_err(|_| failed("this token is not text"))?;
    let token = text.trim();
    match token {
        "" => Err(failed("this token file is empty")),
        _ if !is_header(token) => Err(failed("this token holds characters that no token may have")),
        _ => Ok(token.to_owned()),
    }
}

/// A text that can stand in a header.
pub fn is_header(text: &str) -> bool {
    text.bytes().all(|byte| byte > b' ' && byte < 0x7f)
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let failed = |problem: String| AccessError::credentials(path.display().to_string(), problem);
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !size.is_file() {
        return Err(failed("it is not a file".to_owned()));
    }
    if size.len() > LARGEST {
        return Err(failed(format!("it is larger than {LARGEST} bytes")));
    }
    std::fs::read(path).map_err(|error| failed(error.to_string()))
}

/// A file, or its content in base64, which comes first; `None` where there is neither.
pub fn pem(
    folder: &Path,
    field: &str,
    file: Option<&str>,
    data: Option<&str>,
) -> Result<Option<Pem>, AccessError> {
    if let Some(data) = data.filter(|data| !data.trim().is_empty()) {
        let origin = format!("{field}-data");
        let packed: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let text = STANDARD
            .decode(packed)
            .map_err(|error| AccessError::credentials(&origin, format!("it is not base64: {error}")))?;
        return Ok(Some(Pem { origin, text }));
    }
    file.filter(|file| !file.is_empty()).map(|file| read_pem(&beside(folder, file))).transpose()
}

/// A path as a kubeconfig means it: relative to its folder.
pub fn beside(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}
