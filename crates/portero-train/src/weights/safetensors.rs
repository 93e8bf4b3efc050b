//! The bytes of a safetensors file: its header read, a whole file written, its SHA-256.
//!
//! The format: 8 bytes of length, little endian, a JSON header of so many bytes with type, shape and place of each
//! tensor, then the values (safetensors, format of version 0.4). What the tensors mean is the caller's concern.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use portero_core::words::hex;
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use tch::{Kind, TchError, Tensor};

use super::{Tensors, WeightsError};

/// SHA-256 of a weights file, in hexadecimal digits.
///
/// # Errors
/// [`WeightsError::Read`].
pub(crate) fn sha256(path: &Path) -> Result<String, WeightsError> {
    let bytes = fs::read(path).map_err(|source| WeightsError::Read { path: path.to_owned(), source })?;
    Ok(hex(&Sha256::digest(&bytes)))
}

/// The header's JSON: 8 bytes of length, little endian, then the text.
pub(super) fn header(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut header = Vec::new();
    let length = u64::from_le_bytes(length);
    let read = file.take(length).read_to_end(&mut header)?;
    if read as u64 == length { Ok(header) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes `tensors` with the text `description` in the header, and brings them to the disk.
pub(super) fn write(path: &Path, tensors: &Tensors, description: &str) -> io::Result<()> {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!({ "format": "pt", "portero": description }));
    let mut end = 0;
    for (name, tensor) in tensors {
        let begin = end;
        end += tensor.numel() * size_of::<f32>();
        let entry = json!({ "dtype": "F32", "shape": tensor.size(), "data_offsets": [begin, end] });
        entries.insert(name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&entries)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for tensor in tensors.values() {
        file.write_all(&bytes(tensor).map_err(io::Error::other)?)?;
    }
    file.sync_all()
}

/// The values as 32-bit floats, little endian.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let flat = tensor.detach().f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut values = vec![0_f32; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}
