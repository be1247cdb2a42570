package policy

// Kinds of extended permissions.
const (
	xpermIoctlFunction = 1 // driver is the high byte, perms the low byte of an ioctl
	xpermIoctlDriver   = 2 // perms is the high byte of an ioctl
	xpermNetlink       = 3 // driver is the high byte, perms the low byte of a message type
)
