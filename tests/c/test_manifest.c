/* Manifests of several components, payloads in the envelope, chunk digests, tables of keys, and what refusals are called elsewhere. */
#include "test.h"

enum { IMAGE = 1000, CHUNK = 300, CHUNKS = 4 };
static const uint8_t OLD[32] = {1, 2, 3}, NEW[32] = {4, 5, 6};
static uint8_t image[IMAGE], envelope[2048], list[32 * CHUNKS];
static size_t envelope_len;
static waft_key_t old_key, new_key;

static waft_bytes_t bytes(const void *data, size_t len) {
    waft_bytes_t b = {data, len};
    return b;
}

static waft_release_t release(void) {
    waft_release_t r;
    memset(&r, 0, sizeof r);
    r.sequence = 7;
    memset(r.vendor, 1, 16);
    memset(r.class_id, 2, 16);
    OK(waft_sha256(bytes(image, sizeof image), r.image_digest));
    r.image_size = sizeof image;
    r.uri = WAFT_STR("image/x");
    r.severity = WAFT_SEVERITY_LOW;
    r.chunk = CHUNK;
    return r;
}

static waft_bytes_t sign(const waft_release_t *r) {
    OK(waft_release_sign(r, OLD, envelope, sizeof envelope, &envelope_len));
    return bytes(envelope, envelope_len);
}

static void images_and_lists_are_payloads(void) {
    static const char radio[] = "for the radio";
    size_t len;
    OK(waft_chunk_list(bytes(image, sizeof image), CHUNK, list, sizeof list, &len));
    CHECK(len == sizeof list);
    CHECK(waft_chunk_list(bytes(image, sizeof image), 0, list, sizeof list, &len) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_chunk_list(bytes(image, sizeof image), CHUNK, list, sizeof list - 1, &len) == WAFT_ERROR_BUFFER);

    waft_release_image_t more;
    memset(&more, 0, sizeof more);
    more.number = 1;
    more.size = sizeof radio;
    more.uri = WAFT_STR("#radio");
    more.content = bytes(radio, sizeof radio);
    OK(waft_sha256(more.content, more.digest));
    waft_release_t r = release();
    r.list = bytes(list, sizeof list);
    r.list_uri = WAFT_STR("#chunks");
    r.images = &more;
    r.image_count = 1;
    r.use_before = 2000000000;
    r.battery = 500;
    r.authorization = 1;
    r.require_version[0] = WAFT_STR(">=1.0");
    r.wait = WAFT_WAIT_TIME | WAFT_WAIT_DAY_OF_WEEK;
    r.wait_time = 1900000000;
    r.wait_day_of_week = 6;
    waft_bytes_t signed_ = sign(&r);

    waft_manifest_t m;
    OK(waft_manifest_verify(signed_, &old_key, 1, &m));
    CHECK(m.payloads == 3 && m.image_size == IMAGE && m.chunk == CHUNK);
    CHECK(m.use_before == 2000000000 && m.battery == 500 && m.authorization == 1);
    waft_payload_t p;
    OK(waft_manifest_payload(signed_, 0, &p));
    CHECK(p.component == WAFT_COMPONENT_CHUNKS && p.number == 0 && p.size == sizeof list);
    CHECK(p.content.len == sizeof list && memcmp(p.content.data, list, sizeof list) == 0);
    OK(waft_manifest_payload(signed_, 1, &p));
    CHECK(p.component == WAFT_COMPONENT_IMAGE && p.number == 0 && p.chunk == CHUNK && p.content.data == NULL);
    CHECK(memcmp(p.digest, m.image_digest, 32) == 0 && p.uri.len == 7);
    uint8_t digest[32];
    OK(waft_sha256(bytes(list, sizeof list), digest));
    CHECK(memcmp(p.list_digest, digest, 32) == 0);
    OK(waft_manifest_payload(signed_, 2, &p));
    CHECK(p.component == WAFT_COMPONENT_IMAGE && p.number == 1 && p.content.len == sizeof radio && p.chunk == 0);
    CHECK(waft_manifest_payload(signed_, 3, &p) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_manifest_payload(signed_, 0, NULL) == WAFT_ERROR_NULL_POINTER);

    /* A key that may sign firmware only. */
    waft_key_t scoped = old_key;
    scoped.scope = WAFT_SCOPE_FIRMWARE;
    CHECK(waft_manifest_verify(signed_, &scoped, 1, &m) == WAFT_ERROR_UPDATE_SCOPE);
    scoped.scope = 3;
    OK(waft_manifest_verify(signed_, &scoped, 1, &m));

    more.number = 7;
    CHECK(waft_release_sign(&r, OLD, envelope, sizeof envelope, &envelope_len) == WAFT_ERROR_OUT_OF_RANGE);
    r = release();
    r.require_version[1] = WAFT_STR("1.0");
    CHECK(waft_release_sign(&r, OLD, envelope, sizeof envelope, &envelope_len) == WAFT_ERROR_INVALID_STRING);
}

static void a_release_may_do_without_firmware(void) {
    static const char radio[] = "for the radio";
    waft_release_image_t more;
    memset(&more, 0, sizeof more);
    more.number = 1;
    more.size = sizeof radio - 1;
    more.uri = WAFT_STR("image/radio");
    OK(waft_sha256(bytes(radio, sizeof radio - 1), more.digest));
    waft_release_t r = release();
    memset(r.image_digest, 0, sizeof r.image_digest);
    r.image_size = 0;
    r.uri.data = NULL;
    r.uri.len = 0;
    r.images = &more;
    r.image_count = 1;
    waft_bytes_t signed_ = sign(&r);
    waft_manifest_t m;
    waft_payload_t p;
    OK(waft_manifest_verify(signed_, &old_key, 1, &m));
    CHECK(m.payloads == 1 && m.image_size == 0 && m.uri.len == 0);
    CHECK(m.severity == WAFT_SEVERITY_LOW && m.chunk == CHUNK);
    OK(waft_manifest_payload(signed_, 0, &p));
    CHECK(p.component == WAFT_COMPONENT_IMAGE && p.number == 1 && p.size == sizeof radio - 1);

    r.require_version[0] = WAFT_STR(">=1.0");
    CHECK(waft_release_sign(&r, OLD, envelope, sizeof envelope, &envelope_len) == WAFT_ERROR_OUT_OF_RANGE);
    r.require_version[0].data = NULL;
    r.image_count = 0;
    CHECK(waft_release_sign(&r, OLD, envelope, sizeof envelope, &envelope_len) == WAFT_ERROR_OUT_OF_RANGE);
    r.image_count = 1;
    r.uri = WAFT_STR("image/x");
    CHECK(waft_release_sign(&r, OLD, envelope, sizeof envelope, &envelope_len) == WAFT_ERROR_OUT_OF_RANGE);
}

static void a_chunk_is_known_by_its_digest(void) {
    for (uint32_t n = 0; n < CHUNKS; n++) {
        size_t at = (size_t)n * CHUNK, len = n + 1 < CHUNKS ? CHUNK : IMAGE - at;
        OK(waft_chunk_check(CHUNK, IMAGE, n, list + 32 * (size_t)n, bytes(image + at, len)));
        CHECK(waft_chunk_check(CHUNK, IMAGE, n, list + 32 * (size_t)n, bytes(image + at, len - 1)) == WAFT_ERROR_UPDATE_SIZE);
        image[at] ^= 1;
        CHECK(waft_chunk_check(CHUNK, IMAGE, n, list + 32 * (size_t)n, bytes(image + at, len)) == WAFT_ERROR_UPDATE_CHUNK_DIGEST);
        image[at] ^= 1;
    }
    CHECK(waft_chunk_check(CHUNK, IMAGE, CHUNKS, list, bytes(image, CHUNK)) == WAFT_ERROR_UPDATE_SIZE);
    CHECK(waft_chunk_check(0, IMAGE, 0, list, bytes(image, CHUNK)) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_chunk_check(CHUNK, IMAGE, 0, NULL, bytes(image, CHUNK)) == WAFT_ERROR_NULL_POINTER);
}

/* Takes a table of keys from an envelope, as a device does. */
static int32_t take(waft_key_table_t *table, waft_bytes_t signed_) {
    waft_key_t keys[WAFT_KEY_TABLE_KEYS];
    size_t count;
    uint32_t epoch;
    waft_manifest_t m;
    waft_payload_t p;
    OK(waft_key_table_read(table, keys, &count, &epoch));
    int32_t result = waft_manifest_verify(signed_, keys, count, &m);
    if (result) return result;
    OK(waft_manifest_payload(signed_, 0, &p));
    CHECK(p.component == WAFT_COMPONENT_KEYS && p.content.data != NULL);
    return waft_key_table_apply(table, p.content, m.signer, table);
}

static void keys_are_replaced_by_signed_tables(void) {
    static uint8_t identity[32], bring[512], revoke[512];
    size_t bring_len, revoke_len, count;
    uint32_t epoch;
    waft_key_table_t table, both, last;
    waft_key_t keys[WAFT_KEY_TABLE_KEYS + 1] = {old_key, new_key};
    OK(waft_key_table_make(0, keys, 1, &table));
    keys[1].epoch = 1;
    OK(waft_key_table_make(1, keys, 2, &both));
    OK(waft_key_table_make(2, keys + 1, 1, &last));
    OK(waft_key_table_sign(&both, 8, identity, OLD, bring, sizeof bring, &bring_len));
    OK(waft_key_table_sign(&last, 9, identity, NEW, revoke, sizeof revoke, &revoke_len));
    CHECK(waft_key_table_sign(&last, 9, identity, OLD, revoke, sizeof revoke, &revoke_len) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_key_table_sign(&last, 9, identity, NEW, revoke, 10, &revoke_len) == WAFT_ERROR_BUFFER);

    CHECK(take(&table, bytes(revoke, revoke_len)) == WAFT_ERROR_UPDATE_UNKNOWN_KEY);
    OK(take(&table, bytes(bring, bring_len)));
    CHECK(memcmp(&table, &both, sizeof table) == 0);
    OK(take(&table, bytes(revoke, revoke_len)));
    CHECK(take(&table, bytes(bring, bring_len)) == WAFT_ERROR_UPDATE_UNKNOWN_KEY);
    OK(waft_key_table_read(&table, keys, &count, &epoch));
    CHECK(count == 1 && epoch == 2 && keys[0].epoch == 1 && keys[0].scope == WAFT_SCOPE_ALL);
    CHECK(memcmp(keys[0].bytes, new_key.bytes, 32) == 0);

    table.bytes[20] ^= 1;
    CHECK(waft_key_table_read(&table, keys, &count, &epoch) == WAFT_ERROR_UPDATE_KEY_TABLE);
    CHECK(waft_key_table_make(0, keys, 0, &table) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_key_table_make(0, keys, WAFT_KEY_TABLE_KEYS + 1, &table) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_key_table_make(0, keys, 1, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_key_table_apply(&both, bytes(image, 45), old_key.bytes, &both) == WAFT_ERROR_UPDATE_KEY_TABLE);
}

static void a_refusal_is_called_otherwise_elsewhere(void) {
    waft_mapping_t m;
    OK(waft_refusal_mapping(WAFT_ERROR_UPDATE_SCOPE, &m));
    CHECK(m.suit_report == 7 && m.lwm2m == 5 && m.fumo == 404);
    OK(waft_refusal_mapping(WAFT_ERROR_UPDATE_IMAGE_DIGEST, &m));
    CHECK(m.suit_report == 10 && m.lwm2m == 5 && m.fumo == 402);
    CHECK(waft_refusal_mapping(WAFT_ERROR_BUFFER, &m) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_refusal_mapping(WAFT_ERROR_UPDATE_SCOPE, NULL) == WAFT_ERROR_NULL_POINTER);
}

static void a_report_is_signed_and_opened(void) {
    static const char report[] = "any bytes";
    uint8_t signed_[sizeof report + WAFT_SIGNED], scratch[sizeof signed_ + WAFT_OPEN_SCRATCH];
    waft_bytes_t payload;
    size_t len;
    OK(waft_payload_sign(bytes(report, sizeof report), OLD, signed_, sizeof signed_, &len));
    CHECK(waft_payload_sign(bytes(report, sizeof report), OLD, signed_, sizeof signed_ - 1, &len) == WAFT_ERROR_BUFFER);
    OK(waft_payload_open(bytes(signed_, len), &old_key, 1, scratch, sizeof scratch, &payload));
    CHECK(payload.len == sizeof report && memcmp(payload.data, report, sizeof report) == 0);
    CHECK(waft_payload_open(bytes(signed_, len), &new_key, 1, scratch, sizeof scratch, &payload) == WAFT_ERROR_UPDATE_UNKNOWN_KEY);
    CHECK(waft_payload_open(bytes(signed_, len), &old_key, 1, scratch, len, &payload) == WAFT_ERROR_BUFFER);
    signed_[len - 1] ^= 1;
    CHECK(waft_payload_open(bytes(signed_, len), &old_key, 1, scratch, sizeof scratch, &payload) == WAFT_ERROR_UPDATE_SIGNATURE);
}

int main(void) {
    for (size_t i = 0; i < sizeof image; i++) image[i] = (uint8_t)(i * 7);
    OK(waft_secret_key_public(OLD, &old_key));
    OK(waft_secret_key_public(NEW, &new_key));
    images_and_lists_are_payloads();
    a_release_may_do_without_firmware();
    a_chunk_is_known_by_its_digest();
    keys_are_replaced_by_signed_tables();
    a_refusal_is_called_otherwise_elsewhere();
    a_report_is_signed_and_opened();
    puts("test_manifest: ok");
    return 0;
}
