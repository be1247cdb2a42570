#include "textflag.h"

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET

// func prefetchItem(p unsafe.Pointer, last uintptr)
TEXT ·prefetchItem(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD last+8(FP), R1
	ADD  R0, R1
line:
	PRFM (R0), PLDL1KEEP
	ADD  $64, R0
	CMP  R1, R0
	BLO  line
	PRFM (R1), PLDL1KEEP
	RET

// func prefetchWrite(p unsafe.Pointer, last uintptr)
TEXT ·prefetchWrite(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD last+8(FP), R1
	ADD  R0, R1
line:
	PRFM (R0), PSTL1KEEP
	ADD  $64, R0
	CMP  R1, R0
	BLO  line
	PRFM (R1), PSTL1KEEP
	RET
