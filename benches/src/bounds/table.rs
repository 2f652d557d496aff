//! A hash table from numbers to small values, as a person writes it who knows the keys.

/// Spreads a number over 64 bits.
#[inline]
pub(crate) fn spread(key: i64) -> u64 {
    let wide =
        u128::from(key.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    u64::try_from(wide >> 64).unwrap_or(0) ^ u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(0)
}

/// The worker that owns a key.
#[inline]
pub(crate) fn owner(key: i64, workers: usize) -> usize {
    let scaled = (u128::from(spread(key)) * workers as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

/// Keys in order of first sight with a value each.
#[derive(Clone, Debug)]
pub(crate) struct Table<V> {
    /// Number of the entry plus one; 0 where there is none. Its length is a power of two.
    slots: Vec<u32>,
    keys: Vec<i64>,
    values: Vec<V>,
}

impl<V> Default for Table<V> {
    fn default() -> Table<V> {
        Table {
            slots: vec![0; 64],
            keys: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl<V: Default> Table<V> {
    /// The value of a key, made if it is new.
    #[inline]
    pub(crate) fn entry(&mut self, key: i64) -> &mut V {
        let mask = self.slots.len() - 1;
        let mut place = usize::try_from(spread(key)).unwrap_or(0) & mask;
        loop {
            let slot = self.slots[place] as usize;
            if slot == 0 {
                break;
            }
            if self.keys[slot - 1] == key {
                return &mut self.values[slot - 1];
            }
            place = (place + 1) & mask;
        }
        self.keys.push(key);
        self.values.push(V::default());
        let count = self.keys.len();
        self.slots[place] = u32::try_from(count).unwrap_or(u32::MAX);
        if count * 2 > self.slots.len() {
            self.grow();
        }
        &mut self.values[count - 1]
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.slots.len() * 4 - 1;
        self.slots = vec![0; mask + 1];
        for (number, key) in (1u32..).zip(&self.keys) {
            let mut place = usize::try_from(spread(*key)).unwrap_or(0) & mask;
            while self.slots[place] != 0 {
                place = (place + 1) & mask;
            }
            self.slots[place] = number;
        }
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &V)> {
        self.keys.iter().copied().zip(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_counts() {
        let mut table = Table::<u64>::default();
        for number in 0..10_000 {
            *table.entry(number % 777 - 5) += 1;
        }
        assert_eq!(table.iter().count(), 777);
        assert_eq!(table.iter().map(|(_, count)| count).sum::<u64>(), 10_000);
    }
}
