// Writes the schemas of Kubernetes' built-in kinds as the text that builtin.rs reads.
//
//	scripts/schema
//
// What a field is called and how it is encoded comes from the Go types by reflection, what it means for patches,
// apply and defaulting from the OpenAPI definitions that the original publishes. Nothing is kept of their prose.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	admission "k8s.io/api/admission/v1"
	admissionbeta "k8s.io/api/admission/v1beta1"
	discovery "k8s.io/api/apidiscovery/v2"
	discoverybeta "k8s.io/api/apidiscovery/v2beta1"
	imagepolicy "k8s.io/api/imagepolicy/v1alpha1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	metabeta "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	aggregator "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

func main() {
	known := scheme.Scheme
	for _, add := range []func(*runtime.Scheme) error{
		admission.AddToScheme, admissionbeta.AddToScheme, discovery.AddToScheme, discoverybeta.AddToScheme,
		imagepolicy.AddToScheme, extensions.AddToScheme, aggregator.AddToScheme, meta.AddMetaToScheme,
		metabeta.AddMetaToScheme,
	} {
		must(add(known))
	}
	g := generator{
		structs:     map[string]reflect.Type{},
		groups:      map[string]map[string]bool{},
		definitions: openapi.GetOpenAPIDefinitions(func(name string) spec.Ref { return spec.MustCreateRef(name) }),
	}
	for kind, of := range known.AllKnownTypes() {
		if kind.Version == runtime.APIVersionInternal || !hasFields(of) {
			continue
		}
		g.reach(of)
		g.serves(kind, of)
	}
	must(g.write(os.Stdout))
}

type generator struct {
	structs map[string]reflect.Type
	// Which group and version the kinds of a Go package have.
	groups      map[string]map[string]bool
	definitions map[string]common.OpenAPIDefinition
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func fail(format string, arguments ...any) { must(fmt.Errorf(format, arguments...)) }

func hasFields(of reflect.Type) bool { return of.Kind() == reflect.Struct && of.NumField() > 0 }

// The name in OpenAPI: io.k8s.api.core.v1.Pod.
func nameOf(of reflect.Type) string {
	if named, ok := reflect.Zero(of).Interface().(interface{ OpenAPIModelName() string }); ok {
		return named.OpenAPIModelName()
	}
	fail("%v has no name in OpenAPI", of)
	return ""
}

func split(name string) (string, string) {
	dot := strings.LastIndexByte(name, '.')
	return name[:dot], name[dot+1:]
}

// Kinds of meta/v1 are in every group; those that a package has of its own name the package's group.
func (g *generator) serves(kind schema.GroupVersionKind, of reflect.Type) {
	path, name := split(nameOf(of))
	if strings.HasPrefix(path, "io.k8s.apimachinery.") || name != kind.Kind {
		return
	}
	if g.groups[path] == nil {
		g.groups[path] = map[string]bool{}
	}
	g.groups[path][kind.GroupVersion().String()] = true
}

// Types that are encoded in a way of their own.
var special = map[string]string{
	"io.k8s.apimachinery.pkg.apis.meta.v1.Time":                                             "time",
	"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime":                                        "microtime",
	"io.k8s.apimachinery.pkg.apis.meta.v1.Duration":                                         "duration",
	"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1":                                         "fields",
	"io.k8s.apimachinery.pkg.api.resource.Quantity":                                         "quantity",
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString":                                       "intorstring",
	"io.k8s.apimachinery.pkg.runtime.RawExtension":                                          "object",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON":                         "json",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool":        "schemaorbool",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray":       "schemaorschemas",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "schemaorstrings",
}

// Lists that are messages of their own in protobuf.
func wrapped(of reflect.Type) bool {
	_, marshals := reflect.PointerTo(of).MethodByName("MarshalToSizedBuffer")
	return of.Kind() == reflect.Slice && marshals
}

func pointee(of reflect.Type) reflect.Type {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	return of
}

func isBytes(of reflect.Type) bool {
	return of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Uint8
}

// Notes every struct that is part of this type.
func (g *generator) reach(of reflect.Type) {
	of = pointee(of)
	switch {
	case isBytes(of):
	case of.Kind() == reflect.Slice, of.Kind() == reflect.Map:
		g.reach(of.Elem())
	case of.Kind() == reflect.Struct:
		name := nameOf(of)
		if strings.HasPrefix(special[name], "schemaor") {
			g.reach(reflect.TypeFor[extensions.JSONSchemaProps]())
		}
		if special[name] != "" || g.structs[name] != nil {
			return
		}
		g.structs[name] = of
		for _, field := range g.fields(of) {
			g.reach(field.of)
		}
	}
}

type field struct {
	name, number, presence string
	inline                 bool
	of                     reflect.Type
	// Where OpenAPI describes it: an inline field's fields are its parent's there.
	schema *spec.Schema
}

func (g *generator) fields(of reflect.Type) []field {
	var all []field
	for n := range of.NumField() {
		at := of.Field(n)
		tag, options, _ := strings.Cut(at.Tag.Get("json"), ",")
		if tag == "-" || !at.IsExported() {
			continue
		}
		number := "0"
		if parts := strings.Split(at.Tag.Get("protobuf"), ","); len(parts) > 1 {
			number = parts[1]
			if strings.Contains(at.Tag.Get("protobuf"), "packed") {
				fail("%v.%s is packed", of, at.Name)
			}
		}
		if at.Anonymous && tag == "" {
			if number == "0" {
				// TypeMeta: the numbers that its fields have are not those of this message.
				for _, field := range g.fields(at.Type) {
					field.number = "0"
					all = append(all, field)
				}
				continue
			}
			tag = at.Name
			all = append(all, field{tag, number, presence(at.Type, ""), true, at.Type, nil})
			continue
		}
		if tag == "" {
			fail("%v.%s has no name in JSON", of, at.Name)
		}
		here := presence(at.Type, options)
		// None gets defaults, and no items are refused: the two are not the same here.
		if of.Name() == "HPAScalingRules" && tag == "policies" {
			here = "?"
		}
		all = append(all, field{tag, number, here, false, at.Type, nil})
	}
	return all
}

func presence(of reflect.Type, options string) string {
	empty := strings.Contains(options, "omitempty")
	switch of.Kind() {
	case reflect.Pointer:
		if empty {
			return "?"
		}
		return "~"
	case reflect.Slice, reflect.Map:
		if empty {
			return "-"
		}
		return "~"
	case reflect.Struct:
		if strings.Contains(options, "omitzero") {
			return "-"
		}
		return "+"
	default:
		if empty {
			return "-"
		}
		return "+"
	}
}

func (g *generator) write(to *os.File) error {
	out := bufio.NewWriter(to)
	names := make([]string, 0, len(g.structs))
	for name := range g.structs {
		names = append(names, name)
	}
	sort.Slice(names, func(a, b int) bool {
		pathA, nameA := split(names[a])
		pathB, nameB := split(names[b])
		if pathA != pathB {
			return pathA < pathB
		}
		return nameA < nameB
	})
	last := ""
	for _, name := range names {
		path, short := split(name)
		if path != last {
			fmt.Fprintf(out, "package %s", path)
			groups := make([]string, 0, 1)
			for group := range g.groups[path] {
				groups = append(groups, group)
			}
			sort.Strings(groups)
			for _, group := range groups {
				fmt.Fprintf(out, " %s", group)
			}
			fmt.Fprintln(out)
			last = path
		}
		definition, found := g.definitions[name]
		atomic := ""
		if found && definition.Schema.Extensions["x-kubernetes-map-type"] == "atomic" {
			atomic = " !"
		}
		fmt.Fprintf(out, "struct %s%s\n", short, atomic)
		if !found {
			fmt.Fprintln(os.Stderr, "not in OpenAPI:", name)
		}
		required := map[string]bool{}
		for _, name := range definition.Schema.Required {
			required[name] = true
		}
		for _, field := range g.fields(g.structs[name]) {
			g.writeField(out, path, field, &definition.Schema, required[field.name])
		}
	}
	return out.Flush()
}

func (g *generator) writeField(out *bufio.Writer, path string, field field, parent *spec.Schema, required bool) {
	if field.inline {
		fmt.Fprintf(out, "%s\t%s\t%s>\t%s\n", field.name, field.number, field.presence, g.shape(path, field.of, nil))
		return
	}
	property, found := parent.Properties[field.name]
	var about *spec.Schema
	if found {
		about = &property
	} else if len(parent.Properties) > 0 {
		fmt.Fprintln(os.Stderr, "not in OpenAPI:", path, field.name)
	}
	fmt.Fprintf(out, "%s\t%s\t%s\t%s", field.name, field.number, field.presence, g.shape(path, field.of, about))
	if required {
		fmt.Fprint(out, "\t!")
	}
	if about != nil {
		writeAttributes(out, about, field.presence == "+")
	}
	if of := pointee(field.of); of.String() != derived(of) {
		fmt.Fprintf(out, "\tgo=%s", of)
	}
	fmt.Fprintln(out)
}

// OpenAPI tells of a default for all that is always written, namely zero: that goes without saying.
func writeAttributes(out *bufio.Writer, about *spec.Schema, always bool) {
	if strategy, ok := about.Extensions["x-kubernetes-patch-strategy"].(string); ok {
		fmt.Fprintf(out, "\tpatch=%s", strategy)
		if key, ok := about.Extensions["x-kubernetes-patch-merge-key"].(string); ok {
			fmt.Fprintf(out, ":%s", key)
		}
	}
	if about.Default != nil && (!always || !isZero(about.Default)) {
		fmt.Fprintf(out, "\tdefault=%s", compact(about.Default))
	}
	values := about.Enum
	if about.Items != nil && about.Items.Schema != nil && len(about.Items.Schema.Enum) > 0 {
		values = about.Items.Schema.Enum
	}
	if len(values) > 0 {
		texts := make([]string, 0, len(values))
		for _, value := range values {
			texts = append(texts, reflect.ValueOf(value).String())
		}
		fmt.Fprintf(out, "\tenum=%s", strings.Join(texts, "|"))
	}
}

func isZero(value any) bool {
	of := reflect.ValueOf(value)
	return of.IsZero() || of.Kind() == reflect.Map && of.Len() == 0
}

func compact(value any) string {
	switch of := reflect.ValueOf(value); of.Kind() {
	case reflect.String:
		return fmt.Sprintf("%q", of.String())
	case reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return fmt.Sprint(value)
	}
	fail("a default of type %T", value)
	return ""
}

// The form that builtin.rs reads: scalar, &STRUCT, [KIND]ITEMS, {KIND}VALUES, *FORM.
func (g *generator) shape(path string, of reflect.Type, about *spec.Schema) string {
	of = pointee(of)
	extension := func(name string) any {
		if about == nil {
			return nil
		}
		return about.Extensions[name]
	}
	switch {
	case isBytes(of):
		return "bytes"
	case of.Kind() == reflect.Slice:
		kind := ""
		switch extension("x-kubernetes-list-type") {
		case "set":
			kind = "set"
		case "map":
			keys := extension("x-kubernetes-list-map-keys").([]any)
			texts := make([]string, 0, len(keys))
			for _, key := range keys {
				texts = append(texts, key.(string))
			}
			kind = strings.Join(texts, ",")
			if kind == "set" {
				fail("a list with the key %q", kind)
			}
		}
		if wrapped(of) {
			kind += "="
		}
		var items *spec.Schema
		if about != nil && about.Items != nil {
			items = about.Items.Schema
		}
		return "[" + kind + "]" + g.shape(path, of.Elem(), items)
	case of.Kind() == reflect.Map:
		if of.Key().Kind() != reflect.String {
			fail("a map by %v", of.Key())
		}
		kind := ""
		if extension("x-kubernetes-map-type") == "atomic" {
			kind = "!"
		}
		var values *spec.Schema
		if about != nil && about.AdditionalProperties != nil {
			values = about.AdditionalProperties.Schema
		}
		return "{" + kind + "}" + g.shape(path, of.Elem(), values)
	case of.Kind() == reflect.Struct:
		name := nameOf(of)
		if form := special[name]; form != "" {
			return form
		}
		if in, short := split(name); in == path {
			name = short
		}
		if extension("x-kubernetes-map-type") == "atomic" {
			name += "!"
		}
		if extension("x-kubernetes-map-type") == "granular" {
			name += "~"
		}
		return "&" + name
	}
	switch of.Kind() {
	case reflect.Interface:
		return "any"
	case reflect.Bool:
		return "bool"
	case reflect.Int32, reflect.Int64, reflect.String, reflect.Float64:
		return of.Kind().String()
	}
	fail("a field of type %v", of)
	return ""
}

// As Go's errors name a type, as far as that follows from its shape.
func derived(of reflect.Type) string {
	switch {
	case isBytes(of):
		return "[]uint8"
	case of.Kind() == reflect.Slice:
		return "[]" + derived(of.Elem())
	case of.Kind() == reflect.Map:
		return "map[string]" + derived(of.Elem())
	case of.Kind() == reflect.Struct:
		path, name := split(nameOf(of))
		return path[strings.LastIndexByte(path, '.')+1:] + "." + name
	}
	return of.Kind().String()
}
