#include "textflag.h"

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func prefetchItem(p unsafe.Pointer, last uintptr)
TEXT ·prefetchItem(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ last+8(FP), DX
	ADDQ AX, DX
line:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	CMPQ AX, DX
	JCS  line
	PREFETCHT0 (DX)
	RET

// func prefetchWrite(p unsafe.Pointer, last uintptr)
TEXT ·prefetchWrite(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ last+8(FP), DX
	ADDQ AX, DX
line:
	BYTE $0x0F; BYTE $0x0D; BYTE $0x08 // PREFETCHW (AX); without it, a no-op
	ADDQ $64, AX
	CMPQ AX, DX
	JCS  line
	MOVQ DX, AX
	BYTE $0x0F; BYTE $0x0D; BYTE $0x08
	RET
