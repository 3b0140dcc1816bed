/* Images with their envelopes, and the author's public key (sim/examples/sessions.rs). */
    .section .rodata
    .macro file name, path
    .global \name
    .global \name\()_end
    .balign 4
\name:
    .incbin "\path"
\name\()_end:
    .endm
    file small, "small.image"
    file small_envelope, "small.envelope"
    file large, "large.image"
    file large_envelope, "large.envelope"
    file public_key, "key.bin"
