package engine

import (
	"reflect"
	"testing"
)

// TestResetForgetsNothing: after Reset a call is as new, but for its client, its
// tag, and memory that it keeps. Every field is tried, so one that is added later
// cannot be forgotten.
func TestResetForgetsNothing(t *testing.T) {
	kept := map[string]bool{"Client": true, "Tag": true, "Text": true, "retry": true}
	var c Call
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanSet() {
			if name := v.Type().Field(i).Name; !kept[name] {
				t.Errorf("field %s cannot be tried here: name it among those that Reset keeps, or clear it", name)
			}
			continue
		}
		switch f.Kind() {
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 3, 3))
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			f.SetInt(7)
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			f.SetUint(7)
		}
	}
	c.Composer = composerFunc{}
	c.Reset()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if !kept[name] && !v.Field(i).IsZero() {
			t.Errorf("Reset left %s", name)
		}
	}
	if len(c.Text) != 0 || cap(c.Text) != 3 {
		t.Errorf("Text has %d of %d", len(c.Text), cap(c.Text))
	}
}

type composerFunc struct{}

func (composerFunc) Compose(dst []byte, _ *View) ([]byte, Tail) { return dst, TailNone }
