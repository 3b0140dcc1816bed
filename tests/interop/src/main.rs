//! `waft-interop --broker HOST:PORT [--qos N] [--patience MS]`: what our client and that broker do for each other. Prints
//! a line for each scenario; ends with 1 if one failed.

use std::{net::ToSocketAddrs, process::ExitCode, time::Duration};
use waft::mqtt::QoS;
use waft_interop::{
    Outcome,
    scenarios::{ALL, Broker},
};

fn options() -> Outcome<Broker> {
    use lexopt::{Arg, ValueExt};
    let (mut address, mut qos, mut patience) = (None, 2, 300);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next().map_err(|e| e.to_string())? {
        let what = match arg {
            Arg::Long(name @ ("broker" | "qos" | "patience")) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let value = parser.value().and_then(|v| v.string()).map_err(|e| e.to_string())?;
        let number = || value.parse().map_err(|_| format!("--{what} takes a number, not {value}"));
        match what.as_str() {
            "broker" => address = value.to_socket_addrs().map_err(|e| format!("{value}: {e}"))?.next(),
            "qos" => qos = number()?,
            _ => patience = number()?,
        }
    }
    let qos = u8::try_from(qos).ok().and_then(QoS::from_u8).ok_or("--qos takes 0, 1 or 2")?;
    Ok(Broker {
        address: address.ok_or("--broker HOST:PORT is wanted")?,
        qos,
        patience: Duration::from_millis(patience),
    })
}

fn main() -> ExitCode {
    let broker = match options() {
        Ok(broker) => broker,
        Err(e) => {
            eprintln!("waft-interop: {e}");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for (name, scenario) in ALL {
        match scenario(&broker) {
            Ok(()) => println!("{name}: passed"),
            Err(e) => {
                println!("{name}: FAILED: {e}");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
