//! Topic names and topic filters.

use crate::{error::found, types::waft_str_t};
use waft::mqtt::topic;

/// 1 where the topic filter `filter` matches the topic `name` (MQTT 3.1.1 §4.7), else 0: to find the one who asked for a message.
/// Both are taken to be valid, as those are that a client has subscribed to and received.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_topic_matches(filter: waft_str_t, name: waft_str_t) -> i32 {
    found((|| {
        // SAFETY: C lends both texts.
        unsafe { Ok(topic::matches(filter.lent()?, name.lent()?)) }
    })())
}
