/* Sessions recorded in the simulator (sim/examples/sessions.rs), and the author's public key. */
    .section .rodata
    .macro file name, path
    .global \name
    .global \name\()_end
    .balign 4
\name:
    .incbin "\path"
\name\()_end:
    .endm
    file a_good, "a_good.session"
    file a_tampered, "a_tampered.session"
    file a_forged, "a_forged.session"
    file c_good, "c_good.session"
    file c_tampered, "c_tampered.session"
    file c_forged, "c_forged.session"
    file public_key, "key.bin"
