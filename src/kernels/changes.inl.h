// What an instruction set changes in the table of a lesser one.

constexpr TableChanges no_changes() {
  TableChanges changes = {};
  changes.isa = SLUICE_ISA_NAME;
  return changes;
}

// Products of int8 inputs: `product(decoder)` for each encoding of integers.
template <class Product>
constexpr TableChanges int8_changes(const Product& product) {
  TableChanges changes = no_changes();
  for_each_decoder([&](auto decoder) {
    changes.matmul[static_cast<size_t>(decoder.kEncoding)][static_cast<size_t>(Activation::kInt8)] =
        product(decoder);
  });
  return changes;
}
