//! A column of texts under construction, written as bytes.

use arrow::{
    array::{NullBufferBuilder, StringArray},
    buffer::{Buffer, OffsetBuffer, ScalarBuffer},
};

use crate::{
    ValueError,
    error::{arrow_failed, checked_size},
};

/// Texts, one after another.
#[derive(Debug)]
pub struct Texts {
    data: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Texts {
    /// No texts, with room for so many.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Texts {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Texts {
            data: Vec::new(),
            offsets,
            nulls: NullBufferBuilder::new(rows),
        }
    }

    /// Where the next text is appended, before [`close`](Texts::close). It must be UTF-8.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// Ends a text.
    ///
    /// # Errors
    /// All texts together are longer than a column holds.
    pub fn close(&mut self) -> Result<(), ValueError> {
        self.offsets.push(checked_size(self.data.len())?);
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a null; what was appended to [`bytes`](Texts::bytes) since the last text is dropped.
    pub fn push_null(&mut self) {
        let last = self.offsets.last().copied().unwrap_or(0);
        self.data.truncate(usize::try_from(last).unwrap_or(0));
        self.offsets.push(last);
        self.nulls.append_null();
    }

    /// The column.
    ///
    /// # Errors
    /// A text is not UTF-8.
    pub fn finish(mut self) -> Result<StringArray, ValueError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.data), self.nulls.finish())
            .map_err(arrow_failed)
    }
}
