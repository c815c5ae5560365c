/** The panel in the block editor's sidebar. */
( function ( wp, copydesk ) {
	const { createElement: el } = wp.element;
	const { useSelect, useDispatch } = wp.data;
	// WordPress 6.6 moved it.
	const DocumentPanel =
		( wp.editor && wp.editor.PluginDocumentSettingPanel ) || wp.editPost.PluginDocumentSettingPanel;
	const attributes = { title: 'title', excerpt: 'excerpt', tags: 'tags', categories: 'categories' };

	function Sidebar() {
		const { id, type, restBase } = useSelect( ( select ) => {
			const postType = select( 'core/editor' ).getCurrentPostType();
			const definition = select( 'core' ).getPostType( postType );
			return {
				id: select( 'core/editor' ).getCurrentPostId(),
				type: postType,
				restBase: definition && definition.rest_base,
			};
		}, [] );
		const source = copydesk.useFeed( id );
		const { receiveEntityRecords } = useDispatch( 'core' );
		const { editPost } = useDispatch( 'core/editor' );

		// The editor sends only what differs from the record it has loaded: give it the new one, and take back what
		// it would send of the fields that were decided about.
		const onChange = ( fields ) => {
			const changed = Object.keys( fields ).filter( ( name ) => attributes[ name ] );
			if ( changed.length === 0 ) {
				return Promise.resolve();
			}
			return wp.apiFetch( { path: '/wp/v2/' + restBase + '/' + id + '?context=edit' } ).then( ( record ) => {
				receiveEntityRecords( 'postType', type, record );
				const edits = {};
				changed.forEach( ( name ) => {
					const value = record[ attributes[ name ] ];
					edits[ name ] = value && value.raw !== undefined ? value.raw : value;
				} );
				editPost( edits, { undoIgnore: true } );
			} );
		};

		if ( ! id || ! restBase ) {
			return null;
		}
		return el(
			DocumentPanel,
			{ name: 'copydesk', title: copydesk.title( source.count ), className: 'copydesk-panel' },
			el( copydesk.Panel, { source, onChange } )
		);
	}

	wp.plugins.registerPlugin( 'copydesk', { render: Sidebar, icon: null } );
} )( window.wp, window.copydesk );
