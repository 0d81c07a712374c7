// Writes how Kubernetes' internal structs look, as the text that internal.rs reads.
//
//	scripts/schema
//
// The original shows some values in its refusals as its own structs: with the names that their fields have in Go, in the
// order of the struct, and with what is absent. Each internal struct is walked together with the one of the published
// version, which has the names of the fields in JSON.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/kubernetes/pkg/apis/batch"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/resource"
)

// What is shown whole, and its published form.
var roots = [][2]any{
	{core.PodTemplateSpec{}, corev1.PodTemplateSpec{}},
	{core.PersistentVolumeSource{}, corev1.PersistentVolumeSource{}},
	{core.PersistentVolumeClaimSpec{}, corev1.PersistentVolumeClaimSpec{}},
	{core.VolumeNodeAffinity{}, corev1.VolumeNodeAffinity{}},
	{core.ObjectReference{}, corev1.ObjectReference{}},
	{core.EventSource{}, corev1.EventSource{}},
	{batch.PodFailurePolicy{}, batchv1.PodFailurePolicy{}},
	{batch.SuccessPolicy{}, batchv1.SuccessPolicy{}},
	{resource.ResourceClaimSpec{}, resourcev1.ResourceClaimSpec{}},
	{resource.ResourceClaimTemplateSpec{}, resourcev1.ResourceClaimTemplateSpec{}},
	{resource.AllocationResult{}, resourcev1.AllocationResult{}},
	{apiextensions.CustomResourceDefinitionVersion{}, extensionsv1.CustomResourceDefinitionVersion{}},
}

// Types that are encoded in a way of their own, or whose published form is another one.
var special = map[string]string{
	"resource.Quantity":                          "quantity",
	"intstr.IntOrString":                         "intorstring",
	"v1.Time":                                    "json",
	"v1.MicroTime":                               "json",
	"v1.Duration":                                "json",
	"runtime.RawExtension":                       "json",
	"apiextensions.JSONSchemaPropsOrBool":        "schemaorbool",
	"apiextensions.JSONSchemaPropsOrArray":       "schemaorschemas",
	"apiextensions.JSONSchemaPropsOrStringArray": "schemaorstrings",
}

type generator struct {
	lines map[string][]string
}

func main() {
	g := generator{lines: map[string][]string{}}
	for _, root := range roots {
		g.reach(reflect.TypeOf(root[0]), reflect.TypeOf(root[1]), nil)
	}
	names := make([]string, 0, len(g.lines))
	for name := range g.lines {
		names = append(names, name)
	}
	sort.Strings(names)
	out := bufio.NewWriter(os.Stdout)
	for _, name := range names {
		fmt.Fprintln(out, "struct", name)
		for _, line := range g.lines[name] {
			fmt.Fprintln(out, line)
		}
	}
	if err := out.Flush(); err != nil {
		fail("%v", err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "error: "+format+"\n", arguments...)
	os.Exit(1)
}

func (g *generator) reach(internal, published, parent reflect.Type) {
	name := internal.String()
	if _, known := g.lines[name]; known {
		return
	}
	g.lines[name] = nil
	g.lines[name] = g.fields(internal, published, parent, "")
}

// One line of each field: its name in Go, its path in JSON, its type, and whether it is left out where it is empty.
func (g *generator) fields(internal, published, parent reflect.Type, prefix string) []string {
	var lines []string
	for i := range internal.NumField() {
		field := internal.Field(i)
		tag := strings.Split(field.Tag.Get("json"), ",")
		if field.Anonymous && tag[0] == "" {
			inner, below := published, prefix
			if same, ok := published.FieldByName(field.Name); ok {
				inner = same.Type
				if name := nameOf(same); name != "" {
					below = prefix + name + "."
				}
			}
			lines = append(lines, g.fields(field.Type, inner, parent, below)...)
			continue
		}
		shown, path, of := field.Name, "", reflect.Type(nil)
		if tag[0] != "" {
			shown = tag[0]
		}
		if same, ok := published.FieldByName(field.Name); ok {
			path, of = prefix+nameOf(same), same.Type
		} else if same, ok := ofParent(parent, field.Name); ok {
			path, of = "^"+nameOf(same), same.Type
		} else {
			fail("%v.%s has no published form in %v", internal, field.Name, published)
		}
		line := shown + "\t" + path + "\t" + g.typeOf(field.Type, of, published)
		for _, option := range tag[1:] {
			if option == "omitempty" || option == "omitzero" {
				line += "\t-"
				break
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func ofParent(parent reflect.Type, name string) (reflect.StructField, bool) {
	if parent == nil {
		return reflect.StructField{}, false
	}
	return parent.FieldByName(name)
}

func nameOf(field reflect.StructField) string { return strings.Split(field.Tag.Get("json"), ",")[0] }

// A text, a number or a truth; a reference, a list or a map of a type (?, [], {}), or a struct (&).
func (g *generator) typeOf(internal, published, parent reflect.Type) string {
	if name, ok := special[internal.String()]; ok {
		return name
	}
	if internal.Kind() != reflect.Pointer && published.Kind() == reflect.Pointer {
		published = published.Elem()
	}
	switch internal.Kind() {
	case reflect.Pointer:
		if published.Kind() == reflect.Pointer {
			published = published.Elem()
		}
		return "?" + g.typeOf(internal.Elem(), published, parent)
	case reflect.Slice:
		if internal.Elem().Kind() == reflect.Uint8 {
			return "?string"
		}
		return "[]" + g.typeOf(internal.Elem(), published.Elem(), parent)
	case reflect.Map:
		return "{}" + g.typeOf(internal.Elem(), published.Elem(), parent)
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Interface:
		return "json"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return "number"
	case reflect.Struct:
		g.reach(internal, published, parent)
		return "&" + internal.String()
	default:
		fail("%v is of no type that can be shown", internal)
		return ""
	}
}
