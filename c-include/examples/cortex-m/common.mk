# How the bare-metal images are built and run; ROOT, TARGET and BOARD are set by who includes it.
OUT   := $(TARGET)/bare
LIB   := $(OUT)/libwaft.a
CC    := arm-none-eabi-gcc
CFLAGS  := -mcpu=cortex-m4 -mthumb -mfloat-abi=soft -std=c99 -Os -g -ffunction-sections -fdata-sections \
           -Wall -Wextra -Werror -I$(ROOT)/c-include -I$(BOARD)
LDFLAGS := -nostartfiles -Wl,--gc-sections -Wl,--fatal-warnings -Wl,-z,noexecstack -T $(BOARD)/mps2-an386.ld --specs=nano.specs
QEMU    := qemu-system-arm -M mps2-an386 -display none -monitor none -serial none -chardev stdio,id=console \
           -semihosting-config enable=on,target=native,chardev=console -icount shift=0
BOARD_FILES := $(BOARD)/board.c $(BOARD)/board.h $(BOARD)/mps2-an386.ld $(BOARD)/common.mk

# What a device ships, where a panic is a trap; and the same with the panics' symbols in it, to be looked through.
AUDIT := $(OUT)/audit/libwaft.a
BUILD := $(ROOT)/scripts/cargo-arm.sh rustc -q --manifest-path $(ROOT)/Cargo.toml -p waft-ffi \
    --no-default-features --features panic-handler --profile firmware --crate-type staticlib
BUILT := thumbv7em-none-eabi/firmware/libwaft_ffi.a

# cargo knows best whether a library is new; the copy keeps its date when it is not.
.PHONY: cargo
$(LIB): cargo
	@CARGO_TARGET_DIR=$(TARGET) WAFT_TRAP=1 $(BUILD)
	@mkdir -p $(@D)
	@cmp -s $(TARGET)/arm-trap/$(BUILT) $@ || cp $(TARGET)/arm-trap/$(BUILT) $@

$(AUDIT): cargo
	@CARGO_TARGET_DIR=$(TARGET) $(BUILD)
	@mkdir -p $(@D)
	@cmp -s $(TARGET)/arm/$(BUILT) $@ || cp $(TARGET)/arm/$(BUILT) $@

$(OUT)/%.elf: $(BOARD)/%.c $(BOARD_FILES) $(LIB) $(ROOT)/c-include/waft.h
	@$(CC) $(CFLAGS) $< $(BOARD)/board.c $(LIB) $(LDFLAGS) -Wl,-Map=$(@:.elf=.map) -o $@

# What the device in replay.c is played to.
$(OUT)/sessions/key.bin: cargo
	@CARGO_TARGET_DIR=$(TARGET) cargo run -q --manifest-path $(ROOT)/Cargo.toml -p waft-sim --example sessions -- $(OUT)/sessions.new
	@mkdir -p $(OUT)/sessions
	@for file in $(OUT)/sessions.new/*; do cmp -s $$file $(OUT)/sessions/$${file##*/} || cp $$file $(OUT)/sessions/; done

$(OUT)/replay.elf: $(BOARD)/replay.c $(BOARD)/sessions.S $(BOARD_FILES) $(LIB) $(OUT)/sessions/key.bin $(ROOT)/c-include/waft.h
	@$(CC) $(CFLAGS) -Wa,-I,$(OUT)/sessions $< $(BOARD)/sessions.S $(BOARD)/board.c $(LIB) $(LDFLAGS) -Wl,-Map=$(@:.elf=.map) -o $@
