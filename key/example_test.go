package key_test

import (
	"fmt"
	"time"

	"github.com/oolith-db/oolith/key"
)

func ExampleMatch() {
	fmt.Println(key.Match("users/*", "users/1"))
	fmt.Println(key.Match("users/*", "users/1/posts"))
	fmt.Println(key.Match("users/*/posts", "users/1/posts"))
	fmt.Println(key.Match("logs/2024-*", "logs/2024-05-01"))
	// Output:
	// true
	// false
	// true
	// true
}

func ExampleBuild() {
	first := key.Build("users/*") // such as users/18bcfe56800000ff
	second := key.Build("users/*")
	fmt.Println(key.Parent(first), first < second)
	// Output: users true
}

func ExampleDecode() {
	path := key.At("users/*", time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	created := key.Decode(key.LastIndex(path))
	fmt.Println(path, time.Unix(0, created).UTC())
	fmt.Println(key.Decode("settings"))
	// Output:
	// users/17cb5b99f8638000 2024-05-01 12:00:00 +0000 UTC
	// 0
}

func ExampleCheck() {
	fmt.Println(key.Check("users/1"))
	fmt.Println(key.Check("users one"))
	fmt.Println(key.Check("users//1"))
	// Output:
	// <nil>
	// byte 5, ' ' is not one of A-Z a-z 0-9 - _ . / *
	// empty segment at byte 6
}
