// SPDX-License-Identifier: MIT
//! The work that all contestants do, compiled once from C.
use std::os::raw::{c_double, c_int, c_void};

mod c {
    use super::*;
    #[link(name = "work", kind = "static")]
    extern "C" {
        pub fn work_sum(data: *const c_void, bytes: usize) -> u64;
        pub fn work_sum_of(byte: c_int, bytes: usize) -> u64;
        pub fn work_burn(seconds: c_double);
        pub fn work_crash();
    }
}

pub fn sum(data: &[u8]) -> u64 {
    unsafe { c::work_sum(data.as_ptr().cast(), data.len()) }
}

pub fn sum_of(byte: u8, bytes: usize) -> u64 {
    unsafe { c::work_sum_of(byte.into(), bytes) }
}

pub fn burn(seconds: f64) {
    unsafe { c::work_burn(seconds) }
}

pub fn crash() {
    unsafe { c::work_crash() }
}
