//! Counts instructions: run under callgrind, which sums them up by function, and each function here whose name begins
//! with `case` is one case of one library, run [`RUNS`] times. `scripts/figures.py` does that and divides.
//!
//! All get the same bytes, or the same borrowed arguments. What a case costs holds all that a program has to do
//! between its arguments and the bytes, or between the bytes and what it can read off them.

mod coap_lite;
mod coap_message;
mod inputs;
mod mqtt_protocol_core;
mod mqttbytes;
mod mqttrs;
mod waft_client;
mod waft_coap;
mod waft_codec;

/// How often each case runs; the stream, which is 10,000 packets, runs once.
pub const RUNS: usize = 50;

/// Declares a function that callgrind tells apart: `case::library::name::run`.
macro_rules! case {
    ($library:ident, $name:ident, |$($arg:ident: $type:ty),*| $body:expr) => {{
        mod case {
            pub mod $library {
                pub mod $name {
                    use super::super::super::*;
                    #[inline(never)]
                    pub fn run($($arg: $type),*) {
                        core::hint::black_box(line!()); // cases of the same code stay apart
                        core::hint::black_box(&$body);
                    }
                }
            }
        }
        case::$library::$name::run
    }};
}
pub(crate) use case;

/// Runs a case on arguments that the optimiser does not see through.
macro_rules! run {
    ($case:expr, $($arg:expr),*) => {
        for _ in 0..crate::RUNS {
            ($case)($(core::hint::black_box($arg)),*);
        }
    };
}
pub(crate) use run;

fn main() {
    println!("runs {}", RUNS);
    println!("packets {}", inputs::PACKETS);
    waft_codec::run();
    waft_client::run();
    waft_coap::run();
    coap_message::run();
    coap_lite::run();
    mqttrs::run();
    mqttbytes::run();
    mqtt_protocol_core::run();
}
