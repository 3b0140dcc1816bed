//! Our client and our broker, as strict with each other as with anybody.

use std::time::Duration;
use waft::mqtt::{QoS, broker::BrokerConfig};
use waft_interop::{
    scenarios::{ALL, Broker},
    server::Server,
};

#[test]
fn our_client_and_our_broker_understand_each_other() {
    let server = Server::start(BrokerConfig::default()).unwrap();
    let broker = Broker { address: server.address, qos: QoS::ExactlyOnce, patience: Duration::from_millis(100) };
    for (name, scenario) in ALL {
        scenario(&broker).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}
